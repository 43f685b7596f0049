"""What works on checkpoint files, outside of a training: averaging them, exporting them.

Not what a training does with its own checkpoints, which is fairseq's, as ``compat`` repairs it.
"""
