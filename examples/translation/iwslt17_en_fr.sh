#!/usr/bin/env bash
# IWSLT17 English-French, both directions: from the archive to the score. Without arguments it prints its usage.
#
# Published, sacreBLEU of the detokenized text on tst2017 (source: README.md beside this script):
#            plain
#   en-fr    35.9
# Protocol: beam 5, no length penalty. One GPU: with more, the batch grows (CUDA_VISIBLE_DEVICES=0 takes one of
# several).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=recipe.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/recipe.sh"

dataset=iwslt17
directions=(en-fr fr-en)

# Training: the flags of IWSLT14 German-English; R-Drop's own for this pair are not published.
preset=iwslt
train_flags=()

# Evaluation
checkpoint=best-bleu
beam=5
lenpen=1
compound_split=no

recipe "$@"
