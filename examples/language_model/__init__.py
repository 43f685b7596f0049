"""Language models: from raw text, one text after the other, to perplexity."""
