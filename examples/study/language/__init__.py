"""Studies of language models, through the scripts of examples/language_model."""
