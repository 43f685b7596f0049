"""Fine-tuning on labelled sentences and pairs: GLUE (``glue_``), and a user's own (``own_``)."""
