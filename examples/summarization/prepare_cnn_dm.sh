#!/usr/bin/env bash
# CNN/DailyMail through GPT-2's BPE into a fairseq data directory. `usage` below says how.
set -euo pipefail
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/prepare_cnn_dm.sh --output DIR [--from-dir DIR] [--bpe DIR] [--cache DIR]
           [--workers N] [--force]

Turns CNN/DailyMail, or another corpus of documents and summaries, into a fairseq data directory.

  --from-dir DIR  no network. DIR holds either the public files, under their own names and verified like
                  downloaded ones, or a corpus as two texts per split: train, val (or valid), test, each
                  .source and .target, UTF-8, one document a line, plain or ending in .gz. A tab in a
                  target ends a sentence
  --bpe DIR       encoder.json, vocab.bpe and dict.txt from DIR: a vocabulary of your own
  --cache DIR     keep downloads here (default: that of scripts/download.py)
  --workers N     processes (default: one per core, at most 8); the result does not depend on it
  --force         replace DIR, once the new one is complete

Training pairs with an empty side, or with a summary of more than 1,023 tokens, are dropped and counted.
Validation and test sets keep every line. Long documents stay whole: the model cuts them (--truncate-source).

DIR holds {train,valid,test}.source-target.{source,target}.{bin,idx}, dict.{source,target}.txt,
raw/{valid,test}.{source,target} (one document a line; a tab in a target ends a sentence),
gpt2/{encoder.json,vocab.bpe,dict.txt} and prepare.json.
END
}

(($# > 0)) || usage_error
output='' from_dir='' bpe='' cache='' workers='' force=false
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --from-dir) need_value "$@"; from_dir="$2"; shift 2 ;;
        --bpe) need_value "$@"; bpe="$2"; shift 2 ;;
        --cache) need_value "$@"; cache="$2"; shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
[[ -n "$output" ]] || usage_error "--output is missing"
[[ "$output" != *:* ]] || usage_error "--output '$output': fairseq takes ':' for a separator of directories"
[[ -z "$from_dir" || -d "$from_dir" ]] || die "--from-dir $from_dir: no such folder"
if [[ -n "$bpe" ]]; then
    for file in encoder.json vocab.bpe dict.txt; do
        [[ -f "$bpe/$file" ]] || die "--bpe $bpe has no $file"
    done
fi
if [[ -z "$workers" ]]; then
    workers="$(getconf _NPROCESSORS_ONLN)"
    ((workers <= 8)) || workers=8
fi
command -v python >/dev/null || die "no python on PATH; run scripts/install.sh first"
for module in fairseq pyarrow regex; do
    python -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$module'))" ||
        die "$(command -v python) has no $module; run scripts/install.sh first"
done
export PYTHONPATH="$ROOT/scripts${PYTHONPATH:+:$PYTHONPATH}"

# Everything is written beside the output and renamed when it is complete. The process number in the
# name keeps two runs apart, and shows which folders were left by runs that were killed.
output="$(python -c 'import os, sys; print(os.path.realpath(sys.argv[1]))' "$output")"
partial="$output.prepare-partial.$$"
replaced="$output.prepare-replaced"
if [[ -e "$replaced" && ! -e "$output" ]]; then
    note "an earlier run was stopped while it replaced $output; restoring that"
    mv -- "$replaced" "$output"
fi
check_output() {
    [[ -e "$output" ]] || return 0
    [[ "$force" == true ]] || die "$output exists; choose another --output, or replace it with --force"
    [[ -f "$output/prepare.json" ]] ||
        die "$output was not made by this script (it has no prepare.json), so --force does not replace it"
}
check_output

cleanup() {
    rm -rf -- "$partial"
}
trap cleanup EXIT
for leftover in "$output".prepare-partial.*; do
    if [[ -d "$leftover" ]] && ! kill -0 "${leftover##*.}" 2>/dev/null; then
        note "removing what an earlier run left: $leftover"
        rm -rf -- "$leftover"
    fi
done
mkdir -p -- "$partial/gpt2"

fetch=(python "$HERE/fetch_cnn_dm.py")
if [[ -n "$cache" ]]; then fetch+=(--cache "$cache"); fi
if [[ -n "$from_dir" ]]; then fetch+=(--from-dir "$from_dir"); fi
if [[ -n "$bpe" ]]; then
    cp -- "$bpe"/{encoder.json,vocab.bpe,dict.txt} "$partial/gpt2/"
else
    "${fetch[@]}" bpe "$partial/gpt2"
fi
texts=("$from_dir"/train.source*)
if [[ -n "$from_dir" && -e "${texts[0]}" ]]; then
    corpus="$from_dir"
else
    corpus="$partial/public"
    "${fetch[@]}" corpus "$corpus"
fi

note "encoding with GPT-2's BPE ($workers workers)"
python "$HERE/prepare_documents.py" --corpus "$corpus" --bpe "$partial/gpt2" --output "$partial" --workers "$workers"

note "binarizing with fairseq-preprocess ($workers workers)"
# Run from within, so that no character of the output's path (a comma, say) can mislead fairseq.
(
    cd -- "$partial"
    python -m fairseq_cli.preprocess --source-lang source --target-lang target \
        --srcdict gpt2/dict.txt --tgtdict gpt2/dict.txt \
        --trainpref text/train --validpref text/valid --testpref text/test \
        --destdir . --workers "$workers" >preprocess.out 2>&1
) || {
    tail -n 20 -- "$partial/preprocess.out" >&2
    die "fairseq-preprocess failed; its last lines are above"
}
rm -rf -- "$partial/preprocess.out" "$partial/text" "$partial/public"
python "$ROOT/scripts/prepare_summary.py" "$partial"

check_output  # again: another run may have finished meanwhile
if [[ -e "$output" ]]; then
    rm -rf -- "$replaced"
    mv -- "$output" "$replaced"
fi
mv -- "$partial" "$output"
rm -rf -- "$replaced"
note "wrote $output"
