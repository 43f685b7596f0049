#!/usr/bin/env bash
# WMT14 English-French: from the archives to the score. Without arguments it prints its usage.
#
# Published, tokenized cased BLEU on newstest2014 (sources: README.md beside this script):
#            plain    R-Drop
#   en-fr    42.96    43.95
# Protocol: the last ten epochs averaged, beam 4, length penalty 0.6. Report sacreBLEU, which is printed beside it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=recipe.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/recipe.sh"

dataset=wmt14
directions=(en-fr)

# Training: Transformer-big as Ott et al. (WMT 2018) trained it on this data set, by the log that the first author
# published (github.com/facebookresearch/fairseq/issues/233): on 128 GPUs, here eight that accumulate 16 times.
# R-Drop's own flags are not published.
preset=wmt
train_flags=(
    --dropout 0.1
    --lr 0.0007 --max-update 80000
    --max-tokens 5120 --update-freq 16
)

# Evaluation
checkpoint="average-10"
beam=4
lenpen=0.6
compound_split=no

recipe "$@"
