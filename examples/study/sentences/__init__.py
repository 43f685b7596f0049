"""Studies of classified sentences, through the scripts of examples/language_understanding."""
