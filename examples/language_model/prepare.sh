#!/usr/bin/env bash
# Text, plain or gzipped, into a fairseq data directory for language models. `usage` below says how.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_model/prepare.sh --train FILE --valid FILE --test FILE[,FILE...] --output DIR
           [--vocab-size N | --words [--min-count N] | --vocabulary-of DATA] [--workers N] [--force]

Turns text into a fairseq data directory. A FILE is UTF-8, plain or ending in .gz, a sentence or a paragraph
on each line; an empty line stays one. The first file of --test becomes the subset test, the following
ones test1, test2, ...

  --vocab-size N   pieces of the sentencepiece model that is trained on the training text (default 8000)
  --words          no pieces: what white space separates is the vocabulary, as in WikiText
  --min-count N    with --words: a word that is rarer in the training text is unknown (default 1: none is)
  --vocabulary-of DATA
                   the vocabulary of a directory that this script made: for text that a model of those data
                   is to be evaluated, or go on, on; what it does not have is unknown
  --workers N      processes (default: one per core, at most 8); the result does not depend on it
  --force          replace DIR, once the new one is complete

DIR holds {train,valid,test,...}.{bin,idx}, dict.txt, sentencepiece.model (without --words) and prepare.json,
which says how many lines, words and pieces each subset has: the units of evaluate.sh.
USAGE
}

(($# > 0)) || usage_error
train='' valid='' tests='' output='' vocab_size='' words=false min_count='' vocabulary_of='' workers='' force=false
while (($# > 0)); do
    case "$1" in
        --train) need_value "$@"; train="$2"; shift 2 ;;
        --valid) need_value "$@"; valid="$2"; shift 2 ;;
        --test) need_value "$@"; tests="$2"; shift 2 ;;
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --vocab-size) need_value "$@"; need_positive "$1" "$2"; vocab_size="$2"; shift 2 ;;
        --words) words=true; shift ;;
        --min-count) need_value "$@"; need_positive "$1" "$2"; min_count="$2"; shift 2 ;;
        --vocabulary-of) need_value "$@"; vocabulary_of="$2"; shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
need_options train valid
[[ -n "$tests" ]] || usage_error "--test is missing"
need_options output
[[ ",$tests," != *,,* ]] || usage_error "--test has an empty name: '$tests'"
if [[ "$words" == true && -n "$vocab_size" ]]; then
    usage_error "--vocab-size has no effect with --words, where the text gives the vocabulary"
fi
if [[ "$words" == false && -n "$min_count" ]]; then usage_error "--min-count goes with --words"; fi
if [[ -n "$vocabulary_of" && ( "$words" == true || -n "$vocab_size" ) ]]; then
    usage_error "--words and --vocab-size do not go with --vocabulary-of, whose data give the vocabulary"
fi
fairseq_paths --output "$output"
find_workers
packages=(fairseq)
if [[ -n "$vocabulary_of" ]]; then
    if [[ -e "$vocabulary_of/sentencepiece.model" ]]; then packages+=(sentencepiece); fi
elif [[ "$words" == false ]]; then
    packages+=(sentencepiece)
fi
need_packages "${packages[@]}"

find_output
check_output
open_partial "$output.prepare-partial"

arguments=(--train "$train" --valid "$valid" --test "$tests" --output "$partial" --workers "$workers")
dictionary=(--thresholdsrc "${min_count:-1}")
if [[ -n "$vocabulary_of" ]]; then
    arguments+=(--vocabulary-of "$vocabulary_of")
    dictionary=(--srcdict text/dict.txt)
elif [[ "$words" == false ]]; then
    arguments+=(--vocab-size "${vocab_size:-8000}")
fi
"${MODULE[@]}" examples.language_model.prepare_text "${arguments[@]}"

prefixes=''
IFS=',' read -r -a files <<<"$tests"
for index in "${!files[@]}"; do
    prefixes+="${prefixes:+,}text/test${index#0}"
done
note "binarizing with fairseq-preprocess ($workers workers)"
preprocess_in "$partial" --only-source --trainpref text/train --validpref text/valid --testpref "$prefixes" \
    "${dictionary[@]}" --destdir .
rm -r -- "$partial/preprocess.out" "$partial/text"
"${MODULE[@]}" examples.language_model.prepare_summary "$partial"

replace_output "$partial" "$replaced"
note "wrote $output"
