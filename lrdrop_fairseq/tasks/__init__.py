"""Tasks of fairseq with what LR-Drop's users need beside."""
