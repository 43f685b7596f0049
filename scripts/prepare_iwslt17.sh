#!/usr/bin/env bash
# IWSLT17, from the public archives to a fairseq data directory. `usage` below says how.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/published.sh
source "$ROOT/scripts/corpora/published.sh"

others='de fr zh'

usage() {
    cat <<END
Usage: scripts/prepare_iwslt17.sh fr-en|en-fr|zh-en|en-zh|de-en|en-de [--sentencepiece]
           [--output DIR] [--cache DIR] [--from-dir DIR] [--workers N] [--force]

IWSLT17 between English and one of $others, prepared as by the script that the authors of BERT-fused
NMT (Zhu et al., ICLR 2020) published: all training pairs, cased; Moses' normalized punctuation and
tokens, special characters not escaped; tst2013 to tst2015 for validation, tst2017 (sacreBLEU's
iwslt17) for test; joint BPE of 10,000 merges. Compare sacreBLEU of the detokenized translation,
which evaluate.sh scores against the original text.

Chinese is tokenized into characters, because it must be written without spaces to be scored, and
so nothing depends on a word segmenter. Their script has words, segmented by jieba.

END
    published_options
    cat <<'END'

With --sentencepiece the pairs are the same; joint pieces 10,000.
END
}

published_arguments iwslt17 "$@"
[[ "$source" == en ]] && other="$target" || other="$source"
[[ "$source-$target" == @("$other-en"|"en-$other") && " $others " == *" $other "* ]] ||
    usage_error "no pair '$source-$target': one side is en, the other one of $others"
pair="$source-$target" # each direction has its own archives

open_work "$source-$target" "sentencepiece=$sentencepiece"
get "iwslt17-train-$pair" "iwslt17-test-$pair" "iwslt17-test-$target-$source"
talks="$archives/iwslt17-train-$pair/$pair"
# Under these names the texts are in prepare.json.
train=iwslt17.train valid=iwslt17.tst2013-2015 test=iwslt17.tst2017
reading_step read_training_text "${MODULE[@]}" scripts.corpora.ted_corpus train --campaign IWSLT17 \
    "$talks" "$pair" "$work/$train"
sets=()
for year in 2013 2014 2015; do
    base="$talks/IWSLT17.TED.tst$year.$pair"
    sets+=("$base.$source.xml" "$base.$target.xml")
done
reading_step read_validation_sets "${MODULE[@]}" scripts.corpora.ted_corpus sets "$work/$valid" "${sets[@]}"
# The reference was published as the source of the other direction.
from="$archives/iwslt17-test-$pair/$pair/IWSLT17.TED.tst2017.$pair.$source.xml"
to="$archives/iwslt17-test-$target-$source/$target-$source/IWSLT17.TED.tst2017.$target-$source.$target.xml"
reading_step read_test_set "${MODULE[@]}" scripts.corpora.ted_corpus sets "$work/$test" "$from" "$to"
reading_step count "${MODULE[@]}" scripts.corpora.ted_corpus count --archive "iwslt17-train-$pair" \
    "train=$work/$train.en" "valid=$work/$valid.en" "test=$work/$test.en"

if [[ "$sentencepiece" == true ]]; then
    binarize --train "$work/$train" --valid "$work/$valid" --test "$work/$test" --vocab-size 10000
    exit
fi
mkdir -p -- "$work/tokens" "$work/bpe"
for lang in "$source" "$target"; do
    for name in "$train" "$valid" "$test"; do
        flags=(--normalize --no-escape)
        [[ "$lang" == zh ]] || flags+=(--replace-punctuation)
        [[ "$lang" == zh || "$name" == "$train" ]] || flags+=(--straight-apostrophes)
        tokens "$lang" "$work/$name.$lang" "$work/tokens/$name.$lang" "${flags[@]}"
    done
done
step learn_BPE "${MODULE[@]}" scripts.corpora.moses_corpus learn-bpe --merges 10000 "$work/codes" \
    "$work/tokens/$train.$source" "$work/tokens/$train.$target"
for name in "$train" "$valid" "$test"; do
    for lang in "$source" "$target"; do
        bpe "$work/tokens/$name.$lang" "$work/bpe/$name.$lang"
    done
done
binarize --pretokenized --bpe-codes "$work/codes" --original "$work/$test" \
    --train "$work/bpe/$train" --valid "$work/bpe/$valid" --test "$work/bpe/$test"
