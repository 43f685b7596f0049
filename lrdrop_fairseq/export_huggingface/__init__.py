"""A trained sentence model as a folder for Hugging Face's ``transformers``."""
