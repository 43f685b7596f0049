# shellcheck shell=bash
# What the scripts for published data sets share (prepare_iwslt14.sh, prepare_wmt14.sh, ...). Sourced, never
# run, after common.sh.
#
# Defines
#   PUBLISHED_OPTIONS           the lines of `usage` about the options
#   parse_published NAME "$@"   SOURCE-TARGET and the options into source, target, output (default
#                               NAME.SOURCE-TARGET), sentencepiece, workers, force and download_options
#   open_work SETTINGS          refuses an existing output; makes the folder `work` beside it, or goes on in the
#                               one that a stopped run with the same SETTINGS (one line) left
#   step WHAT FILE... -- CMD    runs CMD, which makes the FILEs, unless they are there
#   fetch NAME [--only M]...    unpacks an archive of archives.json as work/raw/NAME; a step of its own
#   moses ARGS...               moses_corpus.py
#   concatenate OUT IN...       cat, complete or not at all
#   binarize ARGS...            prepare.sh with the languages and output of this run; removes work

# shellcheck disable=SC2034  # for the scripts that source this
PUBLISHED_OPTIONS='  --output DIR      the fairseq data directory
  --sentencepiece   cased, untokenized text through sentencepiece, for sacreBLEU
  --cache DIR       keeps the archives (default: $LRDROP_CACHE, or lrdrop_fairseq in $XDG_CACHE_HOME or
                    ~/.cache); a download that was cut is continued
  --from-dir DIR    takes the archives from DIR, without network: the files under their own names
  --workers N       processes (default: one per core, at most 8); the result does not depend on it
  --force           replace the output, once the new one is complete

A run that was stopped goes on where it was when the same command is given again: what is finished is
kept in DIR.work until all is done.'

parse_published() {
    local name="$1" pair='' lang
    shift
    (($# > 0)) || usage_error
    source='' target='' output='' sentencepiece=false workers='' force=false download_options=()
    while (($# > 0)); do
        case "$1" in
            --output) need_value "$@"; output="$2"; shift 2 ;;
            --sentencepiece) sentencepiece=true; shift ;;
            --cache | --from-dir) need_value "$@"; download_options+=("$1" "$2"); shift 2 ;;
            --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
            --force) force=true; shift ;;
            -h | --help) usage; exit 0 ;;
            -*) usage_error "unknown option $1" ;;
            *)
                [[ -z "$pair" ]] || usage_error "one language pair only: '$pair', then '$1'"
                pair="$1"
                shift
                ;;
        esac
    done
    [[ -n "$pair" ]] || usage_error "which language pair?"
    [[ "$pair" =~ ^([a-z]+)-([a-z]+)$ ]] || usage_error "'$pair' is no language pair like de-en"
    source="${BASH_REMATCH[1]}" target="${BASH_REMATCH[2]}"
    [[ -n "$output" ]] || output="$name.$pair"
    [[ "$output" != *:* ]] || usage_error "--output '$output': fairseq takes ':' for a separator of directories"
    if [[ -z "$workers" ]]; then
        workers="$(getconf _NPROCESSORS_ONLN)"
        ((workers <= 8)) || workers=8
    fi
    command -v python >/dev/null || die "no python on PATH; run scripts/install.sh first"
    for lang in fairseq sacremoses sentencepiece subword_nmt; do
        python -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$lang'))" ||
            die "$(command -v python) has no $lang; run scripts/install.sh first"
    done
}

open_work() {
    output="$(python -c 'import os, sys; print(os.path.realpath(sys.argv[1]))' "$output")"
    if [[ -e "$output" && "$force" == false ]]; then
        die "$output exists; choose another --output, or replace it with --force"
    fi
    work="$output.work"
    mkdir -p -- "$work"
    exec {work_lock}>"$work/lock"
    flock --nonblock "$work_lock" || die "another run is working in $work"
    if [[ -s "$work/settings" ]]; then
        [[ "$(<"$work/settings")" == "$1" ]] ||
            die "$work was left by another command ($(<"$work/settings")); delete it, or choose another --output"
        note "going on in $work"
    fi
    printf '%s\n' "$1" >"$work/settings"
}

step() {
    local what="$1" file missing=false
    shift
    while [[ "$1" != -- ]]; do
        file="$1"
        [[ -e "$file" ]] || missing=true
        mkdir -p -- "$(dirname -- "$file")"
        shift
    done
    shift
    if [[ "$missing" == true ]]; then
        note "$what"
        "$@"
    fi
}

fetch() {
    local name="$1"
    shift
    step "getting $name" "$work/raw/$name" -- \
        python "$ROOT/scripts/download.py" --into "$work/raw" "${download_options[@]}" "$@" "$name"
}

moses() {
    python "$ROOT/scripts/moses_corpus.py" "$@"
}

concatenate() {
    local out="$1"
    shift
    cat -- "$@" >"$out.part"
    mv -- "$out.part" "$out"
}

binarize() {
    local options=(--source-lang "$source" --target-lang "$target" --output "$output" --workers "$workers")
    if [[ "$force" == true ]]; then
        options+=(--force)
    fi
    "$ROOT/scripts/prepare.sh" "${options[@]}" "$@"
    rm -rf -- "$work"
}
