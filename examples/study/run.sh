#!/usr/bin/env bash
# Runs the trainings of a study, several side by side, and prints what came out. The README says what a study is.
set -euo pipefail
unset CDPATH
RUNNER="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$RUNNER/../../scripts/common.sh"
# Scripts beside the studies source this one.
called="$(cd -- "$(dirname -- "$0")" && pwd -P)/run.sh"

usage() {
    printf 'Usage: %s STUDY ' "${called#"$ROOT/"}"
    cat <<'USAGE'
[--workers N] [--device cpu|cuda] [--time-limit MINUTES]
           [--only PATTERN] [--output DIR]

  STUDY                a file such as examples/translation/study/low-resource.yaml, or the name of one in a folder
                       examples/*/study
  --workers N          trainings side by side (default: one per core; on a GPU 4, which share it)
  --device cpu|cuda    default: cuda if there is one
  --time-limit MINUTES of the whole: then trainings stop, and what there is is scored
  --only PATTERN       the cells whose names match, as 'en-de/*' or '*-seed1' (names: DATA/METHOD-seedN)
  --output DIR         what is made (default results/study/NAME in the repository)

DIR gets results.tsv (a row for each cell), curves.tsv, table.md and curves.png, and the folders of the cells.
Cells that are complete are not trained again, so the same command goes on after an interruption of whatever
kind; rows of another machine's results.tsv, copied there before, count as complete.

On a CPU every training has one thread (OMP_NUM_THREADS says otherwise).
Exit status: 0 complete, 1 something failed, 2 wrong usage, 3 the time was up.
USAGE
}

study="" workers="" device="" time_limit="" only="*" output=""
while (($# > 0)); do
    case "$1" in
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --device) need_value "$@"; device="$2"; shift 2 ;;
        --time-limit) need_value "$@"; time_limit="$2"; shift 2 ;;
        --only) need_value "$@"; only="$2"; shift 2 ;;
        --output) need_value "$@"; output="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $1" ;;
        *) [[ -z "$study" ]] || usage_error "one study only: '$study', then '$1'"; study="$1"; shift ;;
    esac
done
[[ -n "$study" ]] || usage_error "no study given"
[[ -z "$device" || "$device" == cpu || "$device" == cuda ]] || usage_error "--device is cpu or cuda, not '$device'"
[[ -z "$time_limit" || "$time_limit" =~ ^[0-9]*[1-9][0-9]*(\.[0-9]+)?$ || "$time_limit" =~ ^0?\.[0-9]*[1-9][0-9]*$ ]] ||
    usage_error "--time-limit is a number of minutes above 0, not '$time_limit'"
if [[ ! -f "$study" ]]; then
    for named in "$ROOT"/examples/*/study/"$study.yaml"; do
        if [[ -f "$named" ]]; then study="$named"; break; fi
    done
fi
[[ -f "$study" ]] || die "$study: no such file, and there is no $ROOT/examples/*/study/$study.yaml"
need_packages torch fairseq sacrebleu scipy yaml tabulate

if [[ -z "$device" ]]; then if has_cuda; then device=cuda; else device=cpu; fi; fi
if [[ -z "$workers" ]]; then
    if [[ "$device" == cuda ]]; then workers=4; else workers="$(cores)"; fi
fi
name="$(basename -- "$study")"
output="${output:-$ROOT/results/study/${name%.*}}"

exec "${MODULE[@]}" examples.study.run_study "$study" --output "$output" --workers "$workers" --device "$device" \
    --only "$only" ${time_limit:+--time-limit "$time_limit"}
