#!/usr/bin/env bash
# The whole way, from documents to a comparison of two methods, on a small corpus of its own.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/run_small.sh [--output DIR] [--documents N] [--updates N]

  --output DIR     what this writes (default build/summarization in the repository)
  --documents N    training documents of the corpus (default 4000, at least 20); a twentieth as many for
                   validation, and again for the test
  --updates N      training updates of each of the two systems (default 200)

Writes a corpus of made-up news reports with summaries, prepares it with a BPE of its own, makes a small BART
of random numbers, trains it twice, plain and with LR-Drop, summarizes the test set with both, and compares
their ROUGE. What is complete from an earlier run is not made again: delete DIR to start over.
END
}

output="$ROOT/build/summarization" documents=4000 updates=200
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --documents) need_value "$@"; need_positive "$1" "$2"; documents="$2"; shift 2 ;;
        --updates) need_value "$@"; need_positive "$1" "$2"; updates="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
((documents >= 20)) || usage_error "--documents must be at least 20"

# Waiting threads sleep instead of spinning: beside other busy processes that is much faster.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

# The settings of finetune.sh are for BART of a public size; both small systems train with these.
model=(  # 0.3M parameters
    --encoder-layers 2 --encoder-embed-dim 64 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-attention-heads 4 --max-source-positions 256 --max-target-positions 256
)
flags=(
    --arch lr_drop_bart_base "${model[@]}"
    # the schedule and the batch: a random start wants larger steps
    --lr 0.004 --warmup-updates "$((updates / 8))" --total-num-update "$updates" --max-update "$updates"
    --max-tokens 1024 --update-freq 1 --clip-norm 1.0
    # checkpoints: a quarter of the training apart
    --save-interval-updates "$(((updates + 3) / 4))" --no-epoch-checkpoints --num-workers 0
)
# The summaries of this corpus have two short sentences.
generation=(--min-len 5 --max-len-b 60)

step() { printf '\n[%s/5] %s\n' "$1" "$2"; }
done_before() { printf '      complete from an earlier run\n'; }

stop_with_child
# run LOG COMMAND...: what the command says goes to LOG; its end is shown if it fails.
run() {
    local log="$1"
    shift
    if ! stoppable "$@" >"$log" 2>&1; then
        tail -n 15 -- "$log" >&2
        die "$(basename -- "$1") failed; all it said is in $log"
    fi
}

# What DIR was made with: mixing two runs in one folder would compare unequal trainings.
settings="documents $documents updates $updates"
if [[ -f "$output/settings" && "$(<"$output/settings")" != "$settings" ]]; then
    die "$output holds a run with other settings ($(<"$output/settings")): delete it, or give another --output"
fi
mkdir -p -- "$output"
printf '%s\n' "$settings" >"$output/settings"

step 1 "Writing $documents reports and their summaries, and $((documents / 20)) each for validation and test"
if [[ -f "$output/corpus/dict.txt" ]]; then done_before; else
    "${MODULE[@]}" examples.summarization.small.news_corpus --output "$output/corpus" --train "$documents" \
        --valid "$((documents / 20))" --test "$((documents / 20))"
    "${MODULE[@]}" examples.summarization.small.make_bpe --merges 400 --output "$output/corpus" "$output/corpus"/train.*
fi

step 2 "Preparing the data: byte-level BPE, fairseq's binary format"
if [[ -f "$output/data/prepare.json" ]]; then done_before; else
    run "$output/prepare.log" "$HERE/prepare_cnn_dm.sh" --from-dir "$output/corpus" --bpe "$output/corpus" \
        --output "$output/data"
fi
if [[ ! -f "$output/bart.pt" ]]; then
    run "$output/bart.log" "${MODULE[@]}" examples.summarization.small.make_bart --data "$output/data" --output "$output/bart.pt" "${model[@]}"
fi

# train FOLDER METHOD TITLE
train() {
    local folder="$output/$1"
    if [[ -f "$folder/complete" ]]; then done_before; return; fi
    printf '      %s\n' "$3"
    run "$output/$1.log" "$HERE/finetune.sh" "$output/data" --bart "$output/bart.pt" --method "$2" --save-dir "$folder" -- "${flags[@]}"
    : >"$folder/complete"
}
step 3 "Training a small BART of random numbers for $updates updates"
train plain plain "plain: label-smoothed cross entropy"
train lrdrop lrdrop "LR-Drop"

# evaluate FOLDER TITLE
evaluate() {
    local folder="$output/$1"
    printf '      %s\n' "$2"
    if [[ ! -f "$folder/test/scores.test.json" ]]; then
        run "$output/$1.evaluate.log" "$HERE/evaluate.sh" "$output/data" --checkpoint "$folder/checkpoint_best.pt" \
            --output "$folder/test" -- "${generation[@]}"
    fi
}
step 4 "Summarizing the test documents"
evaluate plain plain
evaluate lrdrop LR-Drop

step 5 "Comparing"
cd -- "$output"  # for short names in the table
"$HERE/compare.sh" --reference plain/test/ref.test.target plain/test/hyp.test.target lrdrop/test/hyp.test.target
