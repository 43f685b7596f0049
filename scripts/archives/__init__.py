"""Public archives: which there are, how they are fetched and verified, how they are unpacked.

Not what is in them: to read that is for ``corpora``.
"""
