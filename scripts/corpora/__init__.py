"""From raw text to a data directory: reading, cleaning, tokens, subwords, dictionaries.

The markup of published sets too. Not what is done with the data afterwards; labelled text belongs
to ``examples/language_understanding``.
"""
