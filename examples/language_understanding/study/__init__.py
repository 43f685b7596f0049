"""The public sets of sentences that the studies of fine-tuning are of."""
