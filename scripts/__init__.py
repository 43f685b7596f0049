"""What a user runs, one command a file; the modules behind the commands are in the folders.

No module stands here but ``download.py``, which is a command itself.
"""
