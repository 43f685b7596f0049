#!/usr/bin/env bash
# CNN/DailyMail through GPT-2's BPE into a fairseq data directory. `usage` below says how.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/published.sh
source "$ROOT/scripts/corpora/published.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/prepare_cnn_dm.sh --output DIR [--from-dir DIR] [--bpe DIR] [--cache DIR]
           [--workers N] [--force]

Turns CNN/DailyMail, or another corpus of documents and summaries, into a fairseq data directory.

  --from-dir DIR  no network. DIR holds either the public files, laid out like the cache or all in one folder,
                  which are verified like downloaded ones; or a corpus of yours as two texts per split: train,
                  val (or valid), test, each .source and .target, UTF-8, one document a line, plain or ending in
                  .gz, a tab between the sentences of a summary
  --bpe DIR       encoder.json, vocab.bpe and dict.txt from DIR: a vocabulary of your own
  --cache DIR     keeps downloads (default: $LRDROP_CACHE, or lrdrop_fairseq in $XDG_CACHE_HOME or ~/.cache)
  --workers N     processes (default: one per core, at most 8); the result does not depend on it
  --force         replace DIR, once the new one is complete

Training pairs with an empty side, or with a summary of more than 1,023 tokens, are dropped and counted.
Validation and test sets keep every line. Long documents stay whole: the model cuts them (--truncate-source).
A run that was stopped goes on where it was when the same command is given again: what is finished is kept in
DIR.work until all is done.

DIR holds {train,valid,test}.source-target.{source,target}.{bin,idx}, dict.{source,target}.txt,
raw/{valid,test}.{source,target} (one document a line; a tab in a target ends a sentence),
gpt2/{encoder.json,vocab.bpe,dict.txt} and prepare.json.
END
}

(($# > 0)) || usage_error
output='' from_dir='' bpe='' workers='' force=false download_options=()
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --from-dir) need_value "$@"; from_dir="$2"; download_options+=("$1=$2"); shift 2 ;;
        --bpe) need_value "$@"; bpe="$2"; shift 2 ;;
        --cache) need_value "$@"; download_options+=("$1=$2"); shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
need_options output
fairseq_paths --output "$output"
[[ -z "$from_dir" || -d "$from_dir" ]] || die "--from-dir $from_dir: no such folder"
if [[ -n "$bpe" ]]; then
    for file in encoder.json vocab.bpe dict.txt; do
        [[ -f "$bpe/$file" ]] || die "--bpe $bpe has no $file"
    done
fi
find_workers
need_packages fairseq pyarrow regex

# `work`, beside the output: a new folder, or the one that a stopped run of the same command, files and code left.
inputs=()
for file in "$from_dir"/{train,val,valid,test}.{source,target}* "$bpe"/{encoder.json,vocab.bpe,dict.txt}; do
    if [[ -f "$file" ]]; then inputs+=("$file"); fi
done
described="$( ((${#inputs[@]} == 0)) || stat --dereference --format '%n %s %Y' -- "${inputs[@]}")"
open_work cnn_dm "$from_dir" "$bpe" "$described" "$(cat -- "$HERE"/{documents,prepare_documents}.py | cksum)"

if [[ -z "$bpe" ]]; then
    get gpt2-bpe-encoder gpt2-bpe-vocab gpt2-bpe-dict
    bpe="$work/bpe"
    mkdir -p -- "$bpe"
    cp -- "$archives"/gpt2-bpe-*/* "$bpe/"
fi
texts=("$from_dir"/train.source*)
if [[ -n "$from_dir" && -e "${texts[0]}" ]]; then
    corpus="$from_dir"
else
    get cnn-dailymail-{train-0,train-1,train-2,validation,test}
    corpus="$archives"
fi

encode_documents() {
    rm -rf -- "$work/encoded"
    "${MODULE[@]}" examples.summarization.prepare_documents --corpus "$corpus" --bpe "$bpe" --output "$work/encoded" --workers "$workers"
}
step encode_documents encode_documents

binarize_documents() {
    local data="$work/data"
    rm -rf -- "$data"
    mkdir -p -- "$data/gpt2"
    cp -- "$bpe"/{encoder.json,vocab.bpe,dict.txt} "$data/gpt2/"
    cp -r -- "$work/encoded/raw" "$work/encoded/prepare.json" "$data/"
    preprocess_in "$work" --source-lang source --target-lang target \
        --srcdict data/gpt2/dict.txt --tgtdict data/gpt2/dict.txt \
        --trainpref encoded/text/train --validpref encoded/text/valid --testpref encoded/text/test --destdir data
    "${MODULE[@]}" scripts.corpora.prepare_summary "$data"
}
step binarize_documents binarize_documents

replace_output "$work/data" "$work/replaced"
note "wrote $output"
