"""A corpus, a vocabulary and a BART of a size that a test can train."""
