"""Pretrained models in Hugging Face's layout become checkpoints of fairseq."""
