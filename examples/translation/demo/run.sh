#!/usr/bin/env bash
# The demo: a corpus of its own, a plain training and one with LR-Drop, and what came out of both.
set -euo pipefail
unset CDPATH
DEMO="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../../scripts/common.sh
source "$DEMO/../../../scripts/common.sh"

usage() {
    cat <<'END'
Usage: examples/translation/demo/run.sh [--output DIR] [--updates N]

  --output DIR  what the demo writes (default build/demo in the repository)
  --updates N   training updates of each of the two systems (default 1200, at least 100)

Writes a small German-English corpus, trains a small Transformer on it twice, with label-smoothed
cross entropy and with LR-Drop, translates the test set with both, and prints a table. DIR holds
report.txt, comparison.txt and, with matplotlib, validation.png and lrdrop_terms.png, and per system the log,
the checkpoints and the translations.
What is complete from an earlier run is not made again: delete DIR to start over.
END
}

output="$ROOT/build/demo" updates=1200
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --updates) need_value "$@"; need_positive "$1" "$2"; updates="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
((updates >= 100)) || usage_error "--updates must be at least 100: fewer make no curve"

pairs=1000 pieces=1000
# Both systems train with these flags and the same seed.
tenth=$((updates / 10))
flags=(
    # the model: preset multi30k (d 128, FFN 256, 4 heads) with half its layers
    --encoder-layers 2 --decoder-layers 2 --dropout 0.1
    # the schedule and the batch: many small updates, because the time is short; some fifty passes over the pairs
    --lr 0.004 --warmup-updates 150 --max-update "$updates" --max-tokens 1024
    # ten points on the validation curve, none at the ends of the short epochs; the last checkpoint translates
    --validate-interval 1000000 --save-interval 1000000
    --validate-interval-updates "$tenth" --save-interval-updates "$tenth"
    --keep-interval-updates 1 --no-epoch-checkpoints
    # what the table and the plots are made of
    --log-format json --log-interval 10
)

step() { printf '\n[%s/6] %s\n' "$1" "$2"; }
done_before() { printf '      complete from an earlier run\n'; }

# What DIR was made with: mixing two demos in one folder would compare unequal trainings.
settings="$pairs pairs, $pieces pieces, ${flags[*]}"
if [[ -f "$output/settings" && "$(<"$output/settings")" != "$settings" ]]; then
    die "$output holds a demo with other settings ($(<"$output/settings")): delete it, or give another --output"
fi
mkdir -p -- "$output"
printf '%s\n' "$settings" >"$output/settings"

# train NUMBER FOLDER METHOD TITLE
train() {
    local folder="$output/$2"
    step "$1" "Training: $4 ($updates updates)"
    if [[ -f "$folder/complete" ]]; then done_before; return; fi
    mkdir -p -- "$folder"
    # train.sh copies all of its output to train.log; here the validation records are enough.
    if ! "${MODULE[@]}" examples.translation.records.measure "$folder/memory.json" "$ROOT/scripts/train.sh" "$output/data" \
        --method "$3" --preset multi30k --save-dir "$folder" -- "${flags[@]}" 2>"$folder/train.err" |
        awk -F'"' '/\| INFO \| valid \| / {
            for (i = 1; i < NF; i++) { if ($i == "valid_ppl") p = $(i + 2); if ($i == "valid_num_updates") u = $(i + 2) }
            printf "      update %5d   validation perplexity %s\n", u, p; fflush() }'; then
        tail -n 15 -- "$folder/train.err" >&2
        die "the training failed; all it said is in $folder/train.log and $folder/train.err"
    fi
    : >"$folder/complete"
}

# translate FOLDER TITLE
translate() {
    local folder="$output/$1"
    if [[ -f "$folder/test/scores.test.json" ]]; then done_before; return; fi
    printf '      %s: the last checkpoint, beam 5\n' "$2"
    if ! "$ROOT/scripts/evaluate.sh" "$output/data" --checkpoint "$folder/checkpoint_last.pt" \
        --subset test --output "$folder/test" >"$folder/translate.log" 2>&1; then
        tail -n 15 -- "$folder/translate.log" >&2
        die "translating failed; all it said is in $folder/translate.log"
    fi
}

step 1 "Writing the corpus: $pairs German-English pairs to train on, 1,000 each for validation and test"
if [[ -d "$output/corpus" ]]; then done_before; else
    "${MODULE[@]}" examples.translation.demo.generate_corpus --output "$output/corpus" --train "$pairs"
fi

step 2 "Preparing the data: one sentencepiece model for both languages, fairseq's binary format"
if [[ -f "$output/data/prepare.json" ]]; then done_before; else
    "$ROOT/scripts/prepare.sh" --source-lang de --target-lang en --train "$output/corpus/train" \
        --valid "$output/corpus/valid" --test "$output/corpus/test" --output "$output/data" \
        --vocab-size "$pieces" >"$output/prepare.log" 2>&1 ||
        { tail -n 15 -- "$output/prepare.log" >&2; die "preparing the data failed; see $output/prepare.log"; }
fi

train 3 plain plain "label-smoothed cross entropy"
train 4 lrdrop lrdrop "the same with LR-Drop, whose terms act in the last third"

step 5 "Translating the 1,000 test sentences"
translate plain "plain"
translate lrdrop "LR-Drop"

step 6 "Report"
made="report.txt, comparison.txt"
if python -c 'import matplotlib' 2>/dev/null; then
    "${MODULE[@]}" examples.translation.demo.plots "$output"
    made+=", validation.png, lrdrop_terms.png"
else
    note "no plots: matplotlib is missing; scripts/install.sh --plots installs it"
fi
printf '\n'
"${MODULE[@]}" examples.translation.demo.report "$output"
printf '\nIs the difference more than chance? (scripts/compare.sh, paired bootstrap)\n'
(
    cd -- "$output"
    "$ROOT/scripts/compare.sh" --reference lrdrop/test/ref.test.en {plain,lrdrop}/test/hyp.test.en \
        >comparison.txt 2>comparison.log || { cat comparison.log >&2; die "the comparison failed"; }
    sed -n '/^╒/,/^╘/p' comparison.txt
)
printf '\nIn %s: %s\n' "$output" "$made"
