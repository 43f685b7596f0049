#!/usr/bin/env bash
# Translates a prepared test set with a checkpoint, or with the average of the last ones, and scores it.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/scores/generation.sh
source "$ROOT/scripts/scores/generation.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/evaluate.sh DATA (--checkpoint FILE | --save-dir DIR --average N)
           [--subset test] [--beam 5] [--compound-split] [--output DIR] [-- fairseq-generate flags]

  DATA               data directory made by scripts/prepare.sh
  --checkpoint FILE  the model, or:
  --save-dir DIR --average N
                     the average of the N newest epoch checkpoints in DIR (checkpointE.pt); where DIR has
                     none, of the N newest update checkpoints (checkpoint_E_U.pt); written to
                     DIR/averaged_lastN.pt
  --subset NAME      test (default), test1, ... or valid, as in DATA/prepare.json
  --beam N           beam size (default 5)
  --compound-split   also the tokenized BLEU of many papers on WMT14 English-German, where a hyphen between
                     letters is a token of its own on both sides; for pretokenized data
  --output DIR       where the results go (default: FILE without .pt, with .eval):
                       hyp.SUBSET.LANG      one translation a line, in the order of the input
                       ref.SUBSET.LANG      the reference it was scored against
                       scores.SUBSET.json   scores and signatures, checkpoints, beam, flags
                     The last of several runs leaves its results there, all of one run.

Sentencepiece data: hypotheses are detokenized; sacreBLEU and chrF against the untouched reference.
Pretokenized data: hypotheses and reference are joined from BPE into tokens; tokenized BLEU, for comparison
with papers, and sacreBLEU and chrF of the hypotheses detokenized by sacremoses, against the original text where
the data has it, or else against the reference detokenized too.
sacreBLEU tokenizes as it does for the target language: 13a, but zh for Chinese, ja-mecab for Japanese.

What follows -- goes to fairseq-generate as it is, for example:
  -- --lenpen 0.6          length penalty
  -- --max-tokens 16000    bigger batches (default 4096 source tokens)
  -- --fp16                half precision on a GPU
  -- --truncate-source     cut a source that is longer than the model takes
  -- --user-dir DIR        an architecture of your own
USAGE
}

data="" checkpoint="" save_dir="" average="" subset=test beam=5 output="" extra=() score_flags=()
while (($# > 0)); do
    case "$1" in
        --subset) need_value "$@"; subset="$2"; shift 2 ;;
        --beam) need_value "$@"; need_positive "$1" "$2"; beam="$2"; shift 2 ;;
        --compound-split) score_flags=(--compound-split); shift ;;
        --checkpoint | --save-dir | --average | --output) take_model "$@"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-generate "$1"; shift ;;
    esac
done
check_model
need_packages fairseq sacrebleu
need_command fairseq-generate
refuse_generation_flags --beam 'one raw translation per sentence'

languages="$("${MODULE[@]}" scripts.scores.evaluate_scores check "$data" "$subset" "${score_flags[@]}")" || exit 1
read -r source_lang target_lang <<<"$languages"

find_checkpoint

output="${output:-${checkpoint%.pt}.eval}"
open_generation "$output" "$subset"
note "translating $subset ($source_lang-$target_lang), beam $beam"
generate_logged "$data" --user-dir "$ROOT/lrdrop_fairseq" --task translation \
    --source-lang "$source_lang" --target-lang "$target_lang" --gen-subset "$subset" \
    --path "$checkpoint" --beam "$beam" --max-tokens 4096 "${extra[@]}"

note "scoring"
"${MODULE[@]}" scripts.scores.evaluate_scores score "$data" "$subset" --generated "$work/log" \
    --checkpoint "$checkpoint" --beam "$beam" --flags="${extra[*]}" --output "$output" "${score_flags[@]}"
note "translations and scores are in $output"
