#!/usr/bin/env bash
# WikiText-103 from its public archive into a fairseq data directory. `usage` below says how.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/output_folders.sh
source "$ROOT/scripts/corpora/output_folders.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/corpora/published.sh
source "$ROOT/scripts/corpora/published.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_model/prepare_wikitext_103.sh [--output DIR] [--cache DIR] [--from-dir DIR]
           [--workers N] [--force]

WikiText-103 (Merity et al., ICLR 2017), words as they are, as R-Drop and fairseq's own example take it: 267,744
types with fairseq's symbols.

  --output DIR     where the data goes (default: data/wikitext-103)
  --cache DIR      where the archive is kept (default: $LRDROP_CACHE, or lrdrop_fairseq in $XDG_CACHE_HOME or ~/.cache)
  --from-dir DIR   take the archive from this folder, laid out like the cache or by its own name; no network
  --workers N      processes (default: one per core, at most 8); the result does not depend on it
  --force          replace DIR, once the new one is complete

A run that was stopped goes on where it was when the same command is given again; until then its files are
in DIR.work.
USAGE
}

output=data/wikitext-103 workers='' force=false download_options=()
while (($# > 0)); do
    case "$1" in
        --output) need_value "$@"; output="$2"; shift 2 ;;
        --cache | --from-dir) need_value "$@"; download_options+=("$1=$2"); shift 2 ;;
        --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
        --force) force=true; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage_error "unknown argument '$1'" ;;
    esac
done
fairseq_paths --output "$output"
find_workers
need_packages fairseq

# `work`, beside the output: a new folder, or the one that a stopped run of the same command and code left.
open_work wikitext-103 "$(cat -- "$HERE"/prepare*.{sh,py} | cksum)"
get wikitext-103
texts="$archives/wikitext-103/wikitext-103"
reading_step check_lines "${MODULE[@]}" examples.language_model.published_lines wikitext-103 "$texts"

arguments=(--words --output "$output" --workers "$workers")
if [[ "$force" == true ]]; then arguments+=(--force); fi
# Run from within: prepare.sh takes a comma in a path for one between test sets.
(cd -- "$texts" && "$HERE/prepare.sh" --train wiki.train.tokens --valid wiki.valid.tokens --test wiki.test.tokens "${arguments[@]}")
