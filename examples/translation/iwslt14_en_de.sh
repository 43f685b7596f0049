#!/usr/bin/env bash
# IWSLT14 English-German, both directions.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=recipe.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/recipe.sh"

dataset=iwslt14
directions=(de-en en-de)
preset=iwslt
# The best checkpoint is the one with the best BLEU on the validation set.
train_flags=(
    --eval-bleu --eval-bleu-args '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}'
    --eval-bleu-detok moses --eval-bleu-remove-bpe
    --best-checkpoint-metric bleu --maximize-best-checkpoint-metric
)
evaluate_flags=(--checkpoint SAVE_DIR/checkpoint_best.pt --beam 5)
generate_flags=()
recipe "$@"
