#!/usr/bin/env bash
# Labels for new text by a fine-tuned checkpoint.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_understanding/predict.sh CHECKPOINT [--data DIR/NAME] <TEXT

  CHECKPOINT       checkpoint_best.pt that finetune.sh made
  --data DIR/NAME  the data directory of its task, which has the labels and the tokenizer (default: what
                   finetune.json beside the checkpoint says)

Reads a text a line, or a pair with a tab between, in UTF-8. Prints a line for each: LABEL<TAB>PROBABILITY, or the
number of a regression. All lines are read and checked first: an empty one, or one with another number of fields,
is an error with its number, and then nothing is printed. Runs on a GPU if there is one.
USAGE
}

checkpoint="" data=()
while (($# > 0)); do
    case "$1" in
        --data) need_value "$@"; data=("--data=$2"); shift 2 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $1" ;;
        *)
            [[ -z "$checkpoint" ]] || usage_error "one checkpoint only: '$checkpoint', then '$1'"
            checkpoint="$1"
            shift
            ;;
    esac
done
if [[ -z "$checkpoint" ]]; then usage_error "no checkpoint given"; fi
[[ -f "$checkpoint" ]] || die "$checkpoint: no such checkpoint"
need_packages fairseq
if [[ -t 0 ]]; then note "reading text from the terminal, a line each; Ctrl-D ends it"; fi
exec "${MODULE[@]}" examples.language_understanding.own_predict "$checkpoint" "${data[@]}"
