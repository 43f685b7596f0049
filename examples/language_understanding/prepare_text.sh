#!/usr/bin/env bash
# A user's own labelled text -> a data directory for fairseq's sentence_prediction.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_understanding/prepare_text.sh --train FILE --valid FILE [--test FILE] --output DIR/NAME
           --encoder FOLDER | --bpe DIR | --sentencepiece MODEL --dictionary FILE
           [--regression] [--label-column NAME] [--text-columns NAME[,NAME]] [--workers N] [--force]

A FILE is UTF-8 and, by the end of its name,
  .tsv, .txt       LABEL<TAB>TEXT or, for pairs, LABEL<TAB>TEXT<TAB>TEXT a line, without header and quotes
  .csv             comma-separated with a header, columns "label" and "text"
  .jsonl           an object a line, with "label" and "text"
An empty line is left out and counted; any other line that is no row is an error, and nothing is written.

  --output DIR/NAME   becomes a data directory: input0, input1 (pairs), label, lines (of the rows in their files),
                      encoder (all that predict.sh needs to read text), prepare.json. NAME is the task of
                      finetune.sh NAME DIR
  --encoder FOLDER    the tokenizer of a pretrained model, from python -m lrdrop_fairseq.import_encoder
  --bpe DIR           GPT-2's BPE, for the public RoBERTa checkpoints: encoder.json, vocab.bpe and dict.txt from DIR
  --sentencepiece MODEL --dictionary FILE
                      a sentencepiece model and the dict.txt of its pieces, for a fairseq model with these (XLM-R)
  --regression        labels are numbers; they are kept as they are, not scaled
  --label-column NAME, --text-columns NAME[,NAME]
                      the columns to read; a tab-separated file then has a header too. Two columns of text are a
                      pair
  --workers N         processes for GPT-2's BPE (default: the processors, at most 8)
  --force             replace a DIR/NAME that this script made

The labels are those of the training file, in the order of their numbers if all are whole, else of their letters.
A DIR/NAME that is made of the same files already is left as it is.
USAGE
}

train="" valid="" test="" output="" encoder="" bpe="" sentencepiece="" dictionary="" workers="" force=false
more=()
while (($# > 0)); do
    case "$1" in
        --train) need_value "$@"; train="$2"; shift 2 ;;
        --valid) need_value "$@"; valid="$2"; shift 2 ;;
        --test) need_value "$@"; test="$2"; shift 2 ;;
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --encoder) need_value "$@"; encoder="$2"; shift 2 ;;
        --bpe) need_value "$@"; bpe="$2"; shift 2 ;;
        --sentencepiece) need_value "$@"; sentencepiece="$2"; shift 2 ;;
        --dictionary) need_value "$@"; dictionary="$2"; shift 2 ;;
        --label-column | --text-columns) need_value "$@"; more+=("$1=$2"); shift 2 ;;
        --regression) more+=(--regression); shift ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
need_options train valid output
case "${encoder:+e}${bpe:+b}${sentencepiece:+s}" in
    e) more+=("--encoder=$encoder") ;;
    b) more+=("--bpe=$bpe") ;;
    s)
        [[ -n "$dictionary" ]] || usage_error "--sentencepiece needs --dictionary, the dict.txt of its pieces"
        more+=("--sentencepiece=$sentencepiece")
        ;;
    "") usage_error "--encoder is missing (or --bpe, or --sentencepiece): the vocabulary of the model" ;;
    *) usage_error "only one of --encoder, --bpe and --sentencepiece: a model has one vocabulary" ;;
esac
if [[ -n "$dictionary" ]]; then
    [[ -n "$sentencepiece" ]] || usage_error "--dictionary is that of --sentencepiece; the others have their own"
    more+=("--dictionary=$dictionary")
fi
if [[ -n "$test" ]]; then more+=("--test=$test"); fi
fairseq_paths --output "$output"
find_workers
need_packages fairseq

find_output
arguments=("--train=$train" "--valid=$valid" "--name=$(basename -- "$output")" "--workers=$workers" "${more[@]}")
if [[ -f "$output/prepare.json" && "$force" == false ]]; then
    "${MODULE[@]}" examples.language_understanding.own_prepare "${arguments[@]}" "--output=$output" "--existing=$output"
    note "$output is complete; --force makes it again"
    exit 0
fi
check_output
open_partial "$output.prepare-partial"
note "reading the text"
"${MODULE[@]}" examples.language_understanding.own_prepare "${arguments[@]}" "--output=$partial"

replace_output "$partial" "$replaced"
note "wrote $output"
