#!/usr/bin/env bash
# Perplexity of a prepared text under a checkpoint, or under the average of the last ones.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/scores/generation.sh
source "$ROOT/scripts/scores/generation.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_model/evaluate.sh DATA (--checkpoint FILE | --save-dir DIR --average N)
           [--subset test] [--tokens-per-sample N] [--context-window N] [--output DIR] [-- fairseq-eval-lm flags]

  DATA               data directory made by a prepare*.sh of examples/language_model
  --checkpoint FILE  the model, or:
  --save-dir DIR --average N
                     the average of the N newest epoch checkpoints in DIR (where it has none, of the N
                     newest update checkpoints), written to DIR/averaged_lastN.pt
  --subset NAME      test (default), valid, test1, ...
  --tokens-per-sample N
                     pieces that the model sees at once (default: as many as in its training)
  --context-window N of these, pieces before those that count, already counted (default 0): each piece that counts
                     has at least so many before it. Published results on WikiText-103 have 512 and 400
  --output DIR       where scores.SUBSET.json goes (default: FILE without .pt, with .eval)

The protocol is that of fairseq-eval-lm, whose numbers these are. Perplexity is given per piece, and per word of
the text: the same probability of the whole text, shared among its words. The end of each line counts as a
piece, and as a word. Perplexities per piece of different vocabularies cannot be compared, those per word can, if
no word is unknown.

What follows -- goes to fairseq-eval-lm as it is, for example:
  -- --batch-size 2          fewer samples at once, less memory
  -- --fp16                  half precision on a GPU
  -- --user-dir DIR          an architecture of your own
USAGE
}

data="" checkpoint="" save_dir="" average="" subset=test tokens="" window="" output="" extra=()
while (($# > 0)); do
    case "$1" in
        --subset) need_value "$@"; subset="$2"; shift 2 ;;
        --tokens-per-sample) need_value "$@"; need_positive "$1" "$2"; tokens="$2"; shift 2 ;;
        --context-window)
            need_value "$@"
            if [[ "$2" != 0 ]]; then need_positive "$1" "$2"; fi
            window="$2"
            shift 2
            ;;
        --checkpoint | --save-dir | --average | --output) take_model "$@"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-eval-lm "$1"; shift ;;
    esac
done
check_model
need_packages fairseq
evaluation=("${MODULE[@]}" examples.language_model.evaluate_perplexity)
if ((${#extra[@]} > 0)); then
    wrong="$("${evaluation[@]}" flags "${extra[@]}")" || die "the flags after -- cannot be read"
    if [[ -n "$wrong" ]]; then usage_error "$wrong"; fi
fi
"${evaluation[@]}" check "$data" "$subset" || exit 1

find_checkpoint

output="${output:-${checkpoint%.pt}.eval}"
mkdir -p -- "$output"
note "perplexity of $subset under $checkpoint"
arguments=(--checkpoint "$checkpoint" --output "$output" --context-window "${window:-0}")
if [[ -n "$tokens" ]]; then arguments+=(--tokens-per-sample "$tokens"); fi
stop_with_child
stoppable "${evaluation[@]}" score "$data" "$subset" "${arguments[@]}" -- "${extra[@]}"
note "the scores are in $output"
