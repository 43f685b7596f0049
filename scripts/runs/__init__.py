"""What keeps a run whole: records of what is trained where, complete files, the installation.

Nothing here knows text or scores.
"""
