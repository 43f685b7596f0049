#!/usr/bin/env bash
# Finds the length penalty of the beam search that suits a checkpoint, on the validation set.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/scores/generation.sh
source "$ROOT/scripts/scores/generation.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/length_penalty.sh DATA (--checkpoint FILE | --save-dir DIR --average N)
           [--penalties 1,1.5,2,3] [--beam 5] [--output DIR] [-- fairseq-generate flags]

  DATA               data directory made by scripts/prepare.sh
  --checkpoint FILE, --save-dir DIR --average N
                     the model, as evaluate.sh takes it
  --penalties A,B    what is tried (default 1,1.5,2,3; 1 is fairseq's default, a larger one makes longer translations)
  --beam N           beam size (default 5)
  --output DIR       where the results go (default: the model's file without .pt, with .length_penalty):
                       A/, B/, ...           what evaluate.sh leaves of the validation set with each
                       length_penalty.json   the best one, and the BLEU of all

Translates the validation set with each penalty and takes the one with the best BLEU, of equal ones the first.
Then score the test set with it: scripts/evaluate.sh DATA ... -- --lenpen BEST
Do so for each model that is compared: models trained with LR-Drop or R-Drop make shorter translations.
USAGE
}

data="" checkpoint="" save_dir="" average="" penalties="1,1.5,2,3" beam=5 output="" extra=()
while (($# > 0)); do
    case "$1" in
        --penalties) need_value "$@"; penalties="$2"; shift 2 ;;
        --beam) need_value "$@"; need_positive "$1" "$2"; beam="$2"; shift 2 ;;
        --checkpoint | --save-dir | --average | --output) take_model "$@"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-generate "$1"; shift ;;
    esac
done
check_model
refuse_flags 'lenpen' 'FLAG cannot be given after --: use --penalties'
IFS=',' read -r -a tried <<<"$penalties"
for penalty in "${tried[@]}"; do
    [[ "$penalty" =~ ^[0-9]+(\.[0-9]+)?$ ]] ||
        usage_error "--penalties are numbers with commas between, such as 1,1.5,2; not '$penalties'"
done
need_command fairseq-generate

find_checkpoint  # an average is made once

output="${output:-${checkpoint%.pt}.length_penalty}"

# Translating takes long: a signal sent to this script reaches it.
stop_with_child
for penalty in "${tried[@]}"; do
    note "length penalty $penalty"
    stoppable "$ROOT/scripts/evaluate.sh" "$data" --checkpoint "$checkpoint" --subset valid --beam "$beam" \
        --output "$output/$penalty" -- "${extra[@]}" --lenpen "$penalty" >/dev/null ||
        die "length penalty $penalty failed; what it said is above"
done
"${MODULE[@]}" scripts.scores.length_penalty "$output" "${tried[@]}"
