#!/usr/bin/env bash
# The whole way of this folder, prepare to table, on small corpora that it makes; no download, no GPU.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_understanding/run_small.sh [--output DIR] [--seeds 1,2] [--updates N] [--tasks "CoLA MRPC STS-B"]

  --output DIR   what it writes (default build/glue-small in the repository)
  --seeds LIST   seeds of each task and method (default 1,2)
  --updates N    training updates of each (default 200)
  --tasks LIST   some of CoLA, MRPC and STS-B, the tasks whose layout it makes

Writes corpora in GLUE's layout, BPE files and a small RoBERTa with random weights in the format of the public
files; prepares the data, fine-tunes plain and with LR-Drop, scores all seeds, and prints the table. It shows
that all works, nothing about the methods. What is complete is not made again: delete DIR to start over.
USAGE
}

output="$ROOT/build/glue-small" seeds=1,2 updates=200 tasks="CoLA MRPC STS-B"
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --seeds) need_value "$@"; seeds="$2"; shift 2 ;;
        --updates) need_value "$@"; need_positive "$1" "$2"; updates="$2"; shift 2 ;;
        --tasks) need_value "$@"; tasks="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
read -r -a task_list <<<"$tasks"
for task in "${task_list[@]}"; do
    [[ "$task" =~ ^(CoLA|MRPC|STS-B)$ ]] || usage_error "--tasks has '$task': CoLA, MRPC and STS-B are made"
done

# Waiting threads sleep instead of spinning: on few cores, another busy process otherwise makes so small a
# model many times slower. A value that is set already stays.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

# The model of small_model.py, and a schedule for a model that was never pretrained.
flags=(
    --encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2
    --max-positions 64 --lr 0.003 --batch-size 16
    --max-update "$updates" --total-num-update "$updates" --warmup-updates "$((updates / 10))"
)

stop_with_child  # a signal sent to this script ends the fine-tuning
mkdir -p -- "$output"
if [[ ! -d "$output/raw" ]]; then
    rm -rf -- "$output/raw.part"
    "${MODULE[@]}" examples.language_understanding.small_corpora "$output/raw.part"
    mv -- "$output/raw.part" "$output/raw"
fi
if [[ ! -f "$output/model.pt" ]]; then "${MODULE[@]}" examples.language_understanding.small_model "$output/raw/dict.txt" "$output/model.pt"; fi
"$HERE/prepare_glue.sh" "${task_list[@]}" --from-dir "$output/raw" --bpe "$output/raw" --output "$output/data" --any-size --workers 1

folders=()
for task in "${task_list[@]}"; do
    for method in plain lrdrop; do
        folder="$output/checkpoints/$task/$method"
        folders+=("$folder")
        mkdir -p -- "$folder"
        note "$task, $method: fine-tuning seeds $seeds (log: $folder/finetune.log)"
        stoppable "$HERE/finetune.sh" "$task" "$output/data" --model "$output/model.pt" --arch lr_drop_roberta \
            --method "$method" --save-dir "$folder" --seeds "$seeds" -- "${flags[@]}" >"$folder/finetune.log" 2>&1 ||
            { tail -n 20 -- "$folder/finetune.log" >&2; die "fine-tuning failed; all it said is in $folder/finetune.log"; }
    done
done
"${MODULE[@]}" examples.language_understanding.evaluate score "$output/data" "${folders[@]}"
"${MODULE[@]}" examples.language_understanding.evaluate summarize "${folders[@]}" --output "$output"
note "in $output: summary.tsv, and seeds.png where matplotlib is installed"
