#!/usr/bin/env bash
# Summarizes a prepared test set with a checkpoint, or with the average of the last ones, and scores it by ROUGE.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/scores/generation.sh
source "$ROOT/scripts/scores/generation.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/evaluate.sh DATA (--checkpoint FILE | --save-dir DIR --average N)
           [--subset test] [--output DIR] [-- fairseq-generate flags]

  DATA               data directory made by examples/summarization/prepare_cnn_dm.sh
  --checkpoint FILE  the model, or:
  --save-dir DIR --average N
                     the average of the N newest epoch checkpoints in DIR (where it has none, of the N
                     newest update checkpoints), written to DIR/averaged_lastN.pt
  --subset NAME      test (default) or valid
  --output DIR       where the results go (default: FILE without .pt, with .eval):
                       hyp.SUBSET.target    one summary a line, in the order of the input
                       ref.SUBSET.target    the references, sentences separated by tabs
                       scores.SUBSET.json   ROUGE-1, -2, -Lsum, with all settings; where the references
                                            are not English, words are of all letters and not stemmed

The summaries are found as BART's and R-Drop's published ones are: beam 4, length penalty 2.0, 55 to 140
tokens, no trigram twice. What follows -- goes to fairseq-generate as it is and overrules that:
  -- --beam 6 --lenpen 1.0 --min-len 10 --max-len-b 60     XSum's published settings
  -- --batch-size 8                                        less memory (default 32 documents at once)
END
}

data="" checkpoint="" save_dir="" average="" subset=test output="" extra=()
while (($# > 0)); do
    case "$1" in
        --subset) need_value "$@"; subset="$2"; shift 2 ;;
        --checkpoint | --save-dir | --average | --output) take_model "$@"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-generate "$1"; shift ;;
    esac
done
check_model
refuse_generation_flags 'one raw summary per document'
need_packages fairseq rouge_score pysbd
"${MODULE[@]}" examples.summarization.evaluate_rouge check "$data" "$subset" || exit 1

find_checkpoint

generation=(--beam 4 --lenpen 2.0 --min-len 55 --max-len-b 140 --no-repeat-ngram-size 3)
device_flags=()
if has_cuda && ! other_precision; then device_flags=(--fp16); fi

output="${output:-${checkpoint%.pt}.eval}"
open_generation "$output" "$subset"
note "summarizing $subset: ${generation[*]} ${device_flags[*]} ${extra[*]}"
generate_logged "$data" --user-dir "$ROOT/lrdrop_fairseq" --task translation \
    --source-lang source --target-lang target --truncate-source --gen-subset "$subset" \
    --path "$checkpoint" --batch-size 32 --required-batch-size-multiple 1 \
    "${generation[@]}" "${device_flags[@]}" "${extra[@]}"

note "scoring"
"${MODULE[@]}" examples.summarization.evaluate_rouge score "$data" "$subset" --generated "$work/log" \
    --checkpoint "$checkpoint" --output "$output" \
    --generation "${generation[*]} ${device_flags[*]} ${extra[*]}"
note "summaries and scores are in $output"
