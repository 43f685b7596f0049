#!/usr/bin/env bash
# All there is to try on a GPU, within minutes: every precision, the tests that need one, times and memory.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/common.sh"

usage() {
    cat <<'USAGE'
Usage: benchmarks/on_gpu.sh [--minutes N] [--device cuda|cpu] [--smoke] [--output DIR]

  --minutes N    what all parts take together at most (default 10); a part that has had its share ends, and
                 leaves the results it has; what it does not need, the later ones may take
  --device cpu   without a GPU, or without using it: shows that the parts run, not what a GPU does
  --smoke        tiny models and few updates: only to see it run
  --output DIR   DIR/PART.log and DIR/PART.csv of each part; those of an earlier run are replaced
                 (default: build/gpu)

The parts, one after the other:
  machine     what GPU, driver and torch
  precisions  one update in each, of each architecture, beside the plain losses
  tests       the tests marked gpu
  steps       updates that fill the GPU, in fp16 and bf16
  attention   one layer by sequence length
The last lines on standard output are tables of the results, which python -m benchmarks.gpu_summary DIR prints
again. The exit status is 1 if a part has failed or has run out of time. Needs no network.
USAGE
}

minutes=10 device=cuda smoke=() output=""
while (($# > 0)); do
    case "$1" in
        --minutes) need_value "$@"; need_positive "$1" "$2"; minutes="$2"; shift 2 ;;
        --device) need_value "$@"; device="$2"; shift 2 ;;
        --smoke) smoke=(--smoke); shift ;;
        --output) need_value "$@"; output="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument $1" ;;
    esac
done
if [[ "$device" != cuda && "$device" != cpu ]]; then usage_error "--device is cuda or cpu, not '$device'"; fi

need_packages torch fairseq tabulate pytest
if [[ "$device" == cpu ]]; then
    export CUDA_VISIBLE_DEVICES=""
elif ! has_cuda; then
    die "no CUDA device: the torch of $(command -v python) sees none (--device cpu goes through the parts without)"
else
    # One GPU: with several, fairseq would take a single process for one of as many.
    CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"
    export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES%%,*}"
fi

output="${output:-$ROOT/build/gpu}"
mkdir -p -- "$output"
output="$(cd -- "$output" && pwd -P)"
cd -- "$ROOT"
# So that a part that is killed leaves all that it has said.
export PYTHONUNBUFFERED=1

# Ten seconds are for the tables, and for a part that does not end when it is told to.
readonly BUDGET=$((minutes * 60 - 10)) BEGAN="$SECONDS"
share=0 failed=() running=""

# timeout makes a process group of a part, which the keyboard does not reach.
stop() {
    if [[ -n "$running" ]]; then
        kill -TERM "$running" 2>/dev/null || true
        wait "$running" || true
    fi
    die "stopped; what there is of the results: python -m benchmarks.gpu_summary $(printf '%q' "$output")"
}
trap stop INT TERM HUP

# run_part NAME PERCENT COMMAND...: runs a part, into NAME.log. Its time ends where PERCENT and those of all parts
# before it are used up.
run_part() {
    local name="$1" log="$output/$1.log" status=ok start="$SECONDS" code=0 limit
    share=$((share + $2))
    shift 2
    limit=$((BUDGET * share / 100 - start + BEGAN))
    if ((limit > 0)); then
        note "$name, at most $limit s"
        timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1 </dev/null &
        running=$!
        wait "$running" || code=$?
        running=""
        if ((code != 0)); then status="failed"; fi
        # 137 is also what is left of a process that the system has killed.
        if ((code == 124 || (code == 137 && SECONDS - start >= limit))); then status="out of time"; fi
    else
        status="no time left"
    fi
    printf '%s\t%s\t%d\n' "$name" "$status" $((SECONDS - start)) >>"$output/parts.tsv"
    if [[ "$status" == ok ]]; then return; fi
    failed+=("$name")
    note "$name: $status"
    if [[ -f "$log" ]]; then
        note "the last lines of $log:"
        tail -n 15 -- "$log" >&2
    fi
}

rm -f -- "$output/parts.tsv" "$output"/{machine,precisions,tests,steps,attention}.{log,csv,json}
# LRDROP_COLD_TESTS: none of these tests starts a command, so nothing need be loaded for that beforehand.
# Of these files alone: to import all others takes longer, and more packages.
mapfile -t test_files < <(grep -rlF --include='test_*.py' 'pytest.mark.gpu' tests | sort)
shapes=() lengths=()
if ((${#smoke[@]} > 0)); then
    shapes=(--shape wmt language_model) # one of each task
    lengths=(--length 64 --repeat 1)
fi

run_part machine 8 python -m benchmarks.machine "$output/machine.json"
run_part precisions 20 python -m benchmarks.precisions "${smoke[@]}" --csv "$output/precisions.csv"
run_part tests 16 env LRDROP_COLD_TESTS=1 python -m pytest -v -m gpu -p no:cacheprovider "${test_files[@]}"
run_part steps 44 python -m benchmarks.gpu_steps "${smoke[@]}" "${shapes[@]}" --csv "$output/steps.csv"
run_part attention 12 python -m benchmarks.attention_layer "${lengths[@]}" --csv "$output/attention.csv"

python -m benchmarks.gpu_summary "$output"
if ((${#failed[@]} > 0)); then die "not all parts came to their end: ${failed[*]}"; fi
