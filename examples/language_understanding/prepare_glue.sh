#!/usr/bin/env bash
# GLUE tasks as they are distributed -> data directories for fairseq's sentence_prediction.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"

ALL=(CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE)

usage() {
    cat <<'USAGE'
Usage: examples/language_understanding/prepare_glue.sh TASK...|ALL --output DIR [--cache DIR] [--from-dir DIR]
           [--encoder FOLDER | --bpe DIR] [--workers N] [--any-size] [--force]

  TASK           CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI or RTE; ALL for the eight
  --output DIR   DIR/TASK becomes a data directory: input0, input1 (pairs), label, encoder (all that
                 predict.sh needs to read text), prepare.json; with the subsets train, valid and test (no
                 labels); MNLI: valid and test are matched, valid1 and test1 mismatched
  --cache DIR    where scripts/download.py keeps what it downloads (default: its own)
  --from-dir DIR no network: the archives lie here, or folders DIR/TASK with the task's files, or both; the
                 files of GPT-2's BPE too (all that is public is verified like what is downloaded)
  --encoder FOLDER
                 the tokenizer of a pretrained model, from python -m lrdrop_fairseq.import_encoder, instead
                 of GPT-2's BPE
  --bpe DIR      encoder.json, vocab.bpe and dict.txt from DIR: the vocabulary of a model of your own
  --workers N    processes for BPE (default: the processors, at most 8)
  --any-size     take data that has not the published number of examples: your own in the same layout
  --force        replace a DIR/TASK that this script made

A task that is complete is left as it is, so the same command goes on after an interruption.
USAGE
}

tasks=() output="" cache="" from_dir="" encoder="" bpe="" workers="" any_size=() force=false
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --cache) need_value "$@"; cache="$2"; shift 2 ;;
        --from-dir) need_value "$@"; from_dir="$2"; shift 2 ;;
        --encoder) need_value "$@"; encoder="$2"; shift 2 ;;
        --bpe) need_value "$@"; bpe="$2"; shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --any-size) any_size=(--any-size); shift ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $1" ;;
        ALL) tasks+=("${ALL[@]}"); shift ;;
        *)
            [[ " ${ALL[*]} " == *" $1 "* ]] || usage_error "'$1' is no task: ${ALL[*]}"
            tasks+=("$1")
            shift
            ;;
    esac
done
if ((${#tasks[@]} == 0)); then usage_error "no task given"; fi
need_options output
if [[ -n "$encoder" && -n "$bpe" ]]; then
    usage_error "either --encoder or --bpe: a model has one vocabulary"
fi
if [[ -n "$from_dir" && ! -d "$from_dir" ]]; then die "$from_dir is no folder"; fi
find_workers
need_packages fairseq

download=(python "$ROOT/scripts/download.py")
if [[ -n "$cache" ]]; then download+=(--cache "$cache"); fi
if [[ -n "$from_dir" ]]; then download+=(--from-dir "$from_dir"); fi

# Everything is made in one folder beside the results, and renamed when it is complete. The process number
# in its name keeps two runs apart, and shows which folders were left by runs that were killed.
mkdir -p -- "$output"
folder="$(cd -- "$output" && pwd -P)"
open_partial "$folder/.prepare-partial"

# archives TASK: their names in scripts/archives/archives.json
archives() {
    case "$1" in
        MRPC) printf '%s\n' glue-mrpc-train glue-mrpc-test glue-mrpc-dev-ids ;;
        SST-2) printf 'glue-sst2\n' ;;
        STS-B) printf 'glue-stsb\n' ;;
        *) printf 'glue-%s\n' "${1,,}" ;;
    esac
}

# get_vocabulary: sets `vocabulary`, the option of prepare_glue.py; GPT-2's BPE is there once for all tasks
get_vocabulary() {
    if [[ -n "$encoder" ]]; then
        vocabulary=(--encoder "$encoder")
        return
    fi
    if [[ -z "$bpe" ]]; then get_bpe; fi
    vocabulary=(--bpe "$bpe")
}

# get_bpe: the three files of GPT-2's BPE in $bpe
get_bpe() {
    "${download[@]}" --into "$partial/download" gpt2-bpe-encoder gpt2-bpe-vocab gpt2-bpe-dict
    bpe="$partial/bpe"
    mkdir -- "$bpe"
    cp -- "$partial"/download/gpt2-bpe-*/* "$bpe"
}

# get_files TASK: the folder with the task's files, in $raw
get_files() {
    if [[ -n "$from_dir" && -d "$from_dir/$1" ]]; then
        raw="$from_dir/$1"
        return
    fi
    local names
    mapfile -t names < <(archives "$1")
    "${download[@]}" --into "$partial/download" "${names[@]}"
    if [[ "$1" != MRPC ]]; then
        raw="$partial/download/${names[0]}"
        return
    fi
    raw="$partial/download/MRPC"
    mkdir -- "$raw"
    cp -- "$partial"/download/glue-mrpc-*/* "$raw"
}

for task in "${tasks[@]}"; do
    output="$folder/$task"
    find_output
    if [[ -e "$output" ]]; then
        [[ -f "$output/prepare.json" ]] ||
            die "$output was not made by this script (it has no prepare.json); choose another --output"
        if [[ "$force" == false ]]; then
            "${MODULE[@]}" examples.language_understanding.prepared_with "$output" \
                ${encoder:+--encoder "$encoder"} ${bpe:+--bpe "$bpe"}
            note "$output is complete; --force makes it again"
            continue
        fi
    fi
    note "$task"
    get_vocabulary
    get_files "$task"
    mkdir -- "$partial/$task"
    "${MODULE[@]}" examples.language_understanding.prepare_glue "$task" --raw "$raw" "${vocabulary[@]}" --output "$partial/$task" \
        --workers "$workers" "${any_size[@]}"
    replace_output "$partial/$task" "$replaced"
    rm -rf -- "$partial/download"
    note "wrote $output"
done
