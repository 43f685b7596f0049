"""A training to watch, on a corpus that it makes itself."""
