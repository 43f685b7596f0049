#!/usr/bin/env bash
# IWSLT14, from the public archive to a fairseq data directory. `usage` below says how.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/published.sh
source "$ROOT/scripts/corpora/published.sh"

others='ar de es fa he it nl pl pt ro ru sl tr zh'

usage() {
    cat <<END
Usage: scripts/prepare_iwslt14.sh de-en|en-de|es-en|en-es|... [--sentencepiece] [--output DIR]
           [--cache DIR] [--from-dir DIR] [--workers N] [--force]

IWSLT14 between English and one of $others (pt: Brazilian),
prepared as published results on German-English are: Moses tokens with escaped special characters;
training pairs with 1 to 175 tokens a side and at most 1.5 times as many on one as on the other (9
times for Chinese, whose tokens are characters); lower case; every 23rd pair for validation; dev2010,
dev2012 (TEDx; where the archive has it) and tst2010 to tst2012 for test; joint BPE of 10,000 merges
learned on the training pairs. German-English must have the published sizes: 160,239, 7,283 and 6,750
pairs, or the run fails. Compare tokenized BLEU.

Other languages are prepared the same way, but there is no one custom: the Spanish data of
BERT-fused NMT (Zhu et al., ICLR 2020) is cased, not cleaned, validated on tst2010 to tst2012 and
tested on tst2014, which is in another archive.

END
    published_options
    cat <<'END'

With --sentencepiece the pairs and their split are the same; joint pieces 10,000.
END
}

# name_as_pt: names the files of Brazilian Portuguese, pt-br in the archive, like the others
name_as_pt() {
    local file
    mkdir -p -- "$talks"
    for file in "$archives/iwslt14-$pair/pt-br-en"/*pt-br*; do
        [[ ! -e "$file" ]] || mv -- "$file" "$talks/$(basename -- "${file//pt-br/pt}")"
    done
}

published_arguments iwslt14 "$@"
[[ "$source" == en ]] && other="$target" || other="$source"
[[ "$source-$target" == @("$other-en"|"en-$other") && " $others " == *" $other "* ]] ||
    usage_error "no pair '$source-$target': one side is en, the other one of $others"
pair="$other-en"  # the archives have one direction; the data of the other is the same

open_work "$source-$target" "sentencepiece=$sentencepiece"
get "iwslt14-$pair"
talks="$archives/iwslt14-$pair/$pair"
if [[ "$other" == pt ]]; then
    step name_the_files_pt name_as_pt
fi
reading_step read_training_text "${MODULE[@]}" scripts.corpora.ted_corpus train --campaign IWSLT14 \
    "$talks" "$pair" "$work/all"
sets=()
for name in TED.dev2010 TEDX.dev2012 TED.tst2010 TED.tst2011 TED.tst2012; do
    base="$talks/IWSLT14.$name.$pair"
    if [[ "$name" == TED.* || -e "$base.$other.xml" ]]; then
        sets+=("$base.$other.xml" "$base.en.xml")
    fi
done
reading_step read_test_sets "${MODULE[@]}" scripts.corpora.ted_corpus sets "$work/iwslt14.test" "${sets[@]}"

for lang in "$other" en; do
    tokens "$lang" "$work/all.$lang" "$work/all.tokens.$lang" --lowercase
done
ratio=1.5
[[ "$other" != zh ]] || ratio=9 # its tokens are characters, always more than the words
step clean "${MODULE[@]}" scripts.corpora.moses_corpus clean --langs "$other" en --ratio "$ratio" --max 175 \
    --retained "$work/retained" "$work/all.tokens" "$work/clean" >&2

# From here on with sentencepiece the same pairs as they were in the archive.
text="$work/all.tokens"
[[ "$sentencepiece" == false ]] || text="$work/all"
step split "${MODULE[@]}" scripts.corpora.ted_corpus select --langs "$other" en --lines "$work/retained" \
    --every 23 "$text" "$work/iwslt14.train" "$work/iwslt14.valid"
reading_step count "${MODULE[@]}" scripts.corpora.ted_corpus count --archive "iwslt14-$pair" \
    "train=$work/iwslt14.train.en" "valid=$work/iwslt14.valid.en" "test=$work/iwslt14.test.en"

if [[ "$sentencepiece" == true ]]; then
    binarize --train "$work/iwslt14.train" --valid "$work/iwslt14.valid" --test "$work/iwslt14.test" \
        --vocab-size 10000
    exit
fi
mkdir -p -- "$work/tokens" "$work/bpe"
for lang in "$other" en; do
    tokens "$lang" "$work/iwslt14.test.$lang" "$work/tokens/iwslt14.test.$lang" \
        --straight-apostrophes --lowercase
done
step learn_BPE "${MODULE[@]}" scripts.corpora.moses_corpus learn-bpe --merges 10000 "$work/codes" \
    "$work/iwslt14.train.$other" "$work/iwslt14.train.en"
for lang in "$other" en; do
    bpe "$work/iwslt14.train.$lang" "$work/bpe/iwslt14.train.$lang"
    bpe "$work/iwslt14.valid.$lang" "$work/bpe/iwslt14.valid.$lang"
    bpe "$work/tokens/iwslt14.test.$lang" "$work/bpe/iwslt14.test.$lang"
done
binarize --pretokenized --bpe-codes "$work/codes" --train "$work/bpe/iwslt14.train" \
    --valid "$work/bpe/iwslt14.valid" --test "$work/bpe/iwslt14.test"
