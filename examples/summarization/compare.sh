#!/usr/bin/env bash
# Compares summaries of one test set: a paired bootstrap over ROUGE against the first of them.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/compare.sh --reference REF [--resamples 1000] [--seed 12345] BASELINE HYP [HYP...]

  REF, BASELINE, HYP  text files, one summary a line (evaluate.sh writes ref.* and hyp.*; a tab in REF
                      ends a sentence)
  --resamples N       bootstrap resamples (default 1000)
  --seed N            seed of the resamples (default 12345)

Prints ROUGE-1, -2 and -Lsum (F1) of each file, and its difference from BASELINE with the 95 % interval
and a two-sided p-value. Where REF is not English, words are of all letters and not stemmed.
END
}

reference="" resamples=1000 seed=12345 hypotheses=()
while (($# > 0)); do
    case "$1" in
        --reference) need_value "$@"; reference="$2"; shift 2 ;;
        --resamples) need_value "$@"; need_positive "$1" "$2"; resamples="$2"; shift 2 ;;
        --seed) need_value "$@"; need_positive "$1" "$2"; seed="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $1" ;;
        *) hypotheses+=("$1"); shift ;;
    esac
done
need_options reference
if ((${#hypotheses[@]} < 2)); then usage_error "at least two files of summaries are needed"; fi
declare -A seen=()
for file in "$reference" "${hypotheses[@]}"; do
    if [[ ! -f "$file" ]]; then die "$file: no such file"; fi
    if [[ -n "${seen[$file]:-}" ]]; then die "$file was given twice"; fi
    seen[$file]=yes
done

exec "${MODULE[@]}" examples.summarization.compare_rouge --reference "$reference" --resamples "$resamples" --seed "$seed" "${hypotheses[@]}"
