#!/usr/bin/env bash
# WMT14 English-German and English-French, from the public archives to a fairseq data directory. `usage` below
# says how.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"
# shellcheck source-path=SCRIPTDIR source=corpora/published.sh
source "$ROOT/scripts/corpora/published.sh"

pieces=32000  # as Vaswani et al. (2017) and Ott et al. (2018); fairseq's own script learns 40,000

usage() {
    cat <<END
Usage: scripts/prepare_wmt14.sh en-de|de-en|en-fr|fr-en [--sentencepiece] [--output DIR]
           [--cache DIR] [--from-dir DIR] [--workers N] [--force]

WMT14's parallel training data, prepared as published results do: normalized punctuation; Moses tokens
with split hyphens; joint BPE of 32,000 merges; training pairs with 1 to 250 pieces a side and at most
1.5 times as many on one as on the other. newstest2013 is valid (fairseq's script takes some of the
training pairs), all 3,003 segments of newstest2014 are test. Compare tokenized BLEU.

END
    published_options
    cat <<END

With --sentencepiece the limits count words, and the joint model has 32,000 pieces.

en-de has 4.5 million pairs and downloads 1.7 GB; en-fr has 41 million and downloads 6.7 GB. While it
works, it wants disk space for about six times the text: 10 GB for en-de, 80 GB for en-fr (estimated).
END
}

published_arguments wmt14 "$@"
# Each training corpus: its archive, the prefix of its two files there, and what follows the language.
case "$source-$target" in
    en-de | de-en)
        pair=de-en
        corpora=(
            "wmt14-europarl training/europarl-v7.de-en"
            "wmt14-commoncrawl commoncrawl.de-en"
            "wmt14-news-commentary training/news-commentary-v9.de-en"
        )
        ;;
    en-fr | fr-en)
        pair=fr-en
        corpora=(
            "wmt14-europarl training/europarl-v7.fr-en"
            "wmt14-commoncrawl commoncrawl.fr-en"
            "wmt14-un un/undoc.2000.fr-en"
            "wmt14-news-commentary training/news-commentary-v9.fr-en"
            "wmt14-giga-fren giga-fren.release2.fixed .gz"
        )
        ;;
    *) usage_error "no pair '$source-$target': en-de, de-en, en-fr or fr-en" ;;
esac
other="${pair%-*}"
langs=("$other" en)

# get_members ARCHIVE FILE FILE: these files alone; the archives hold other languages too
get_members() {
    step "get_$1" python "$ROOT/scripts/download.py" --into "$archives" "${download_options[@]}" \
        --only "$2" --only "$3" "$1"
}

# clean ARCHIVE IN OUT
clean() {
    step "clean_$1" "${MODULE[@]}" scripts.corpora.moses_corpus clean --langs "${langs[@]}" --ratio 1.5 --max 250 \
        "$2" "$3" >&2
}

# join_training OUT: the cleaned corpora one after the other
join_training() {
    local lang entry parts
    for lang in "${langs[@]}"; do
        parts=()
        for entry in "${corpora[@]}"; do
            parts+=("$work/${entry%% *}.clean.$lang")
        done
        cat -- "${parts[@]}" >"$1.$lang"
    done
}

open_work "$source-$target" "sentencepiece=$sentencepiece"
valid="$archives/wmt14-dev/dev/newstest2013"
get_members wmt14-dev "dev/newstest2013.$other" "dev/newstest2013.en"
test14="test-full/newstest2014-${pair/-/}"
get_members wmt14-test "$test14-src.$source.sgm" "$test14-ref.$target.sgm"
test14="$archives/wmt14-test/$test14"
step read_test_set "${MODULE[@]}" scripts.corpora.ted_corpus sets "$work/test" \
    "$test14-src.$source.sgm" "$test14-ref.$target.sgm"

# Every corpus by itself: an archive whose two sides do not correspond is told by its name. What is
# of no more use is removed at once, because a copy of English-French takes 13 GB.
texts=()
for entry in "${corpora[@]}"; do
    read -r name prefix suffix <<<"$entry"
    get_members "$name" "$prefix.$other$suffix" "$prefix.en$suffix"
    if [[ "$sentencepiece" == true ]]; then
        clean "$name" "$archives/$name/$prefix" "$work/$name.clean"
    else
        for lang in "${langs[@]}"; do
            tokens "$lang" "$archives/$name/$prefix.$lang$suffix" "$work/$name.tokens.$lang" \
                --normalize --aggressive
            texts+=("$work/$name.tokens.$lang")
        done
    fi
    rm -rf -- "${archives:?}/$name"
done
if [[ "$sentencepiece" == true ]]; then
    step join_the_corpora join_training "$work/train"
    rm -f -- "$work"/*.clean.*
    binarize --train "$work/train" --valid "$valid" --test "$work/test" --vocab-size "$pieces"
    exit
fi

step learn_BPE "${MODULE[@]}" scripts.corpora.moses_corpus learn-bpe --merges "$pieces" "$work/codes" "${texts[@]}"
for entry in "${corpora[@]}"; do
    name="${entry%% *}"
    for lang in "${langs[@]}"; do
        bpe "$work/$name.tokens.$lang" "$work/$name.bpe.$lang"
    done
    clean "$name" "$work/$name.bpe" "$work/$name.clean"
    rm -f -- "$work/$name".{tokens,bpe}.*
done
step join_the_corpora join_training "$work/train"
rm -f -- "$work"/*.clean.*
# The test set as in fairseq's script, which changes nothing of its punctuation but the apostrophe.
for lang in "${langs[@]}"; do
    tokens "$lang" "$valid.$lang" "$work/valid.tokens.$lang" --normalize --aggressive
    tokens "$lang" "$work/test.$lang" "$work/test.tokens.$lang" --straight-apostrophes --aggressive
    bpe "$work/valid.tokens.$lang" "$work/valid.bpe.$lang"
    bpe "$work/test.tokens.$lang" "$work/test.bpe.$lang"
done
binarize --pretokenized --bpe-codes "$work/codes" --original "$work/test" \
    --train "$work/train" --valid "$work/valid.bpe" --test "$work/test.bpe"
