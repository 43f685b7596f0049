#!/usr/bin/env bash
# Parallel text, plain or gzipped, into a fairseq data directory. `usage` below says how.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"

usage() {
    cat <<'END'
Usage: scripts/prepare.sh --source-lang de --target-lang en --train PREFIX --valid PREFIX
           --test PREFIX[,PREFIX...] --output DIR
           [--vocab-size N | --pretokenized [--bpe-codes FILE] | --vocabulary-of DATA [--pretokenized]]
           [--original PREFIX[,PREFIX...]] [--workers N] [--force]

Turns parallel text into a fairseq data directory. The two files of a PREFIX are PREFIX.LANG or
PREFIX.LANG.gz: UTF-8, one segment a line. The first prefix of --test becomes the subset test, the
following ones test1, test2, ...

  --vocab-size N   pieces of the joint sentencepiece model, trained on both sides (default 8000); characters
                   stay as they are, without sentencepiece's normalization (NFKC), which a score would show
  --pretokenized   the text is in BPE already ('@@ ' marks): take its tokens as they are
  --original ...   the test sets before they were tokenized, as many as --test: evaluate.sh scores
                   detokenized translations against them
  --bpe-codes FILE what the BPE was applied with, kept as DIR/bpecodes
  --vocabulary-of DATA
                   the vocabulary of DATA, which this script made: its dictionary, and its sentencepiece
                   model or its BPE codes, which are applied to the text (words that are tokenized as those
                   of DATA were; with --pretokenized they are in its BPE already). A model that was trained
                   on DATA can be fine-tuned on, or translate, what this makes, and no other vocabulary
  --workers N      processes (default: one per core, at most 8); the result does not depend on it
  --force          replace DIR, once the new one is complete

Training pairs with an empty side, or with a side longer than a default model takes (1023 tokens),
are dropped and counted. Validation and test sets keep every line.

DIR holds {train,valid,test,...}.SRC-TGT.LANG.{bin,idx}, dict.LANG.txt (the same for both),
sentencepiece.model or bpecodes, raw/{valid,test,...}.LANG (the texts to score against),
original/{test,...}.LANG, and prepare.json.
END
}

(($# > 0)) || usage_error
source_lang='' target_lang='' train='' valid='' tests='' output=''
vocab_size='' pretokenized=false original='' bpe_codes='' vocabulary_of='' workers='' force=false
while (($# > 0)); do
    case "$1" in
        --source-lang) need_value "$@"; source_lang="$2"; shift 2 ;;
        --target-lang) need_value "$@"; target_lang="$2"; shift 2 ;;
        --train) need_value "$@"; train="$2"; shift 2 ;;
        --valid) need_value "$@"; valid="$2"; shift 2 ;;
        --test) need_value "$@"; tests="$2"; shift 2 ;;
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --vocab-size) need_value "$@"; need_positive "$1" "$2"; vocab_size="$2"; shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --pretokenized) pretokenized=true; shift ;;
        --original) need_value "$@"; original="$2"; shift 2 ;;
        --bpe-codes) need_value "$@"; bpe_codes="$2"; shift 2 ;;
        --vocabulary-of) need_value "$@"; vocabulary_of="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done

need_options source_lang target_lang train valid
[[ -n "$tests" ]] || usage_error "--test is missing"
need_options output
for lang in "$source_lang" "$target_lang"; do
    [[ "$lang" =~ ^[A-Za-z0-9_-]+$ ]] ||
        usage_error "'$lang' is no language: letters, digits, '_' and '-' only"
    [[ "$lang" != gz ]] || usage_error "'gz' is no language: text in a file of that suffix is compressed"
done
[[ "$source_lang" != "$target_lang" ]] ||
    usage_error "source and target language are both '$source_lang'; give the two files different suffixes"
[[ ",$tests," != *,,* ]] || usage_error "--test has an empty prefix: '$tests'"
if [[ "$pretokenized" == true && -n "$vocab_size" ]]; then
    usage_error "--vocab-size has no effect with --pretokenized, where the text gives the vocabulary"
fi
if [[ -n "$vocabulary_of" ]]; then
    [[ -z "$vocab_size$bpe_codes" ]] ||
        usage_error "--vocab-size and --bpe-codes do not go with --vocabulary-of, whose data give the vocabulary"
    [[ -z "$original" || ! -e "$vocabulary_of/sentencepiece.model" ]] ||
        usage_error "--original describes pretokenized text, which that of $vocabulary_of is not"
elif [[ "$pretokenized" == false && -n "$original$bpe_codes" ]]; then
    usage_error "--original and --bpe-codes describe --pretokenized text"
fi
commas="${tests//[!,]/}"
if [[ -n "$original" && ( ",$original," == *,,* || "${original//[!,]/}" != "$commas" ) ]]; then
    usage_error "--original must have as many prefixes as --test: '$original'"
fi
[[ -z "$bpe_codes" || -f "$bpe_codes" ]] || usage_error "--bpe-codes: there is no file '$bpe_codes'"
fairseq_paths --output "$output"

find_workers
packages=(fairseq)
if [[ "$pretokenized" == false ]]; then
    if [[ -n "$vocabulary_of" && -e "$vocabulary_of/bpecodes" ]]; then packages+=(subword_nmt); else packages+=(sentencepiece); fi
fi
need_packages "${packages[@]}"

find_output
check_output
open_partial "$output.prepare-partial"

arguments=("--source-lang=$source_lang" "--target-lang=$target_lang" "--train=$train" "--valid=$valid"
    "--test=$tests" "--output=$partial" "--vocab-size=${vocab_size:-8000}" "--workers=$workers")
if [[ "$pretokenized" == true ]]; then
    arguments+=(--pretokenized)
fi
if [[ -n "$original" ]]; then
    arguments+=("--original=$original")
fi
if [[ -n "$vocabulary_of" ]]; then
    arguments+=("--vocabulary-of=$vocabulary_of")
fi
"${MODULE[@]}" scripts.corpora.prepare_corpus "${arguments[@]}"
if [[ -n "$bpe_codes" ]]; then
    cp -- "$bpe_codes" "$partial/bpecodes"
fi

test_texts=''
IFS=',' read -r -a prefixes <<<"$tests"
for index in "${!prefixes[@]}"; do
    name="test${index#0}"
    test_texts+="${test_texts:+,}text/$name"
done

dictionary=()
if [[ -n "$vocabulary_of" ]]; then dictionary=(--srcdict text/dict.txt); fi
note "binarizing with fairseq-preprocess ($workers workers)"
preprocess_in "$partial" --source-lang "$source_lang" --target-lang "$target_lang" \
    --joined-dictionary "${dictionary[@]}" \
    --trainpref text/train --validpref text/valid --testpref "$test_texts" --destdir .
rm -r -- "$partial/preprocess.out" "$partial/text"
"${MODULE[@]}" scripts.corpora.prepare_summary "$partial"

replace_output "$partial" "$replaced"
note "wrote $output"
