"""How far the passes of one model with dropout are from each other, and from the one without.

This inconsistency is what LR-Drop sets out to remove (section 1 of the paper).
"""
