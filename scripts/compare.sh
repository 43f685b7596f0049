#!/usr/bin/env bash
# Compares translations of one test set: sacreBLEU's paired bootstrap test against the first of them.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/compare.sh --reference REF [--tokenize 13a] [--resamples 1000] BASELINE HYP [HYP...]

  REF, BASELINE, HYP  text files, one sentence a line (evaluate.sh writes ref.* and hyp.*)
  --tokenize NAME     sacreBLEU's tokenization for BLEU: 13a (default); none for text in tokens, as
                      evaluate.sh writes it for pretokenized data; zh, ja-mecab, ... for their languages
  --resamples N       bootstrap resamples (default 1000)

Prints BLEU and chrF of each file with confidence interval and p-value against BASELINE. The p-value is
sacreBLEU's: of one tail, about half of a two-sided one, and never above some 0.43. The resamples are drawn
with the seed in SACREBLEU_SEED (default 12345).
USAGE
}

reference="" tokenize=13a resamples=1000 hypotheses=()
while (($# > 0)); do
    case "$1" in
        --reference) need_value "$@"; reference="$2"; shift 2 ;;
        --tokenize) need_value "$@"; tokenize="$2"; shift 2 ;;
        --resamples) need_value "$@"; need_positive "$1" "$2"; resamples="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $1" ;;
        *) hypotheses+=("$1"); shift ;;
    esac
done
need_options reference
if ((${#hypotheses[@]} < 2)); then usage_error "at least two files of translations are needed"; fi

# The last line counts whether or not a line end follows it. (awk takes the path a=b for an assignment.)
lines_in() { awk 'END { print NR }' <"$1"; }

for file in "$reference" "${hypotheses[@]}"; do
    if [[ ! -f "$file" ]]; then die "$file: no such file"; fi
    iconv -f UTF-8 -t UTF-8 -- "$file" >/dev/null 2>&1 ||
        die "$file is not UTF-8: convert it, as with iconv -f ISO-8859-1 -t UTF-8"
done
expected="$(lines_in "$reference")"
if ((expected == 0)); then die "$reference is empty"; fi
declare -A seen=()
for file in "${hypotheses[@]}"; do
    lines="$(lines_in "$file")"
    if [[ "$lines" != "$expected" ]]; then
        die "$file has $lines lines, but $reference has $expected: they are not of one test set"
    fi
    if [[ -n "${seen[$file]:-}" ]]; then die "$file was given twice"; fi
    seen[$file]=yes
    if [[ "$file" != "${hypotheses[0]}" ]] && cmp -s -- "${hypotheses[0]}" "$file"; then
        note "$file has the same translations as ${hypotheses[0]}: there is no difference, and its p-value says nothing"
    fi
done
command -v sacrebleu >/dev/null || die "sacrebleu is not on PATH: run scripts/install.sh"

export SACREBLEU_SEED="${SACREBLEU_SEED:-12345}"
if [[ ! "$SACREBLEU_SEED" =~ ^[0-9]{1,9}$ ]]; then
    die "SACREBLEU_SEED must be a whole number of at most 9 digits, not '$SACREBLEU_SEED'"
fi
note "paired bootstrap, $resamples resamples, seed $SACREBLEU_SEED, $expected sentences"
# --force: with tokens as input sacreBLEU would warn that the text looks tokenized.
force=()
if [[ "$tokenize" == none ]]; then force=(--force); fi
exec sacrebleu "$reference" --input "${hypotheses[@]}" --metrics bleu chrf --tokenize "$tokenize" \
    --paired-bs --paired-bs-n "$resamples" --format text "${force[@]}"
