"""From what a model has generated to scores: flags, joined text, sacreBLEU, the report.

Not ROUGE, which is in ``examples/summarization``, nor GLUE's metrics.
"""
