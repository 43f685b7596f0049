# shellcheck shell=bash
# What the scripts share that prepare a published data set. Sourced after common.sh and output_folders.sh.
#
#   published_arguments CORPUS "$@"
#                                reads PAIR and the options of `published_options` into variables:
#                                source, target (languages), sentencepiece, force (true or false),
#                                workers, output
#   open_work SETTING...         refuses an existing $output, unless $force; makes $work beside it, where steps
#                                leave their files, or goes on in one that a run with the same SETTINGs left;
#                                makes $output absolute
#   step NAME COMMAND...         runs the command unless an earlier run with the same arguments has
#   reading_step NAME COMMAND... the same of a command that fails only when an archive is a wrong one:
#                                then nothing is kept
#   get ARCHIVE...               step: archives of archives.json, unpacked in $archives/ARCHIVE
#   tokens LANG IN OUT [FLAG...] step: moses_corpus.py tokenize
#   bpe IN OUT                   step: moses_corpus.py apply-bpe with $work/codes
#   binarize ARGUMENT...         prepare.sh with the languages, into $output; then removes $work
# The script defines `usage`, which prints `published_options`. CORPUS begins the default output's name.

published_options() {
    cat <<'END'
  --sentencepiece  instead: cased text as it was, through sentencepiece, to be scored with sacreBLEU
  --output DIR     where the data goes (default: data/CORPUS.SRC-TGT, with .sentencepiece if so)
  --cache DIR      where downloaded archives are kept (default: $LRDROP_CACHE, or lrdrop_fairseq in
                   $XDG_CACHE_HOME or ~/.cache)
  --from-dir DIR   take the archives from this folder, laid out like the cache; no network
  --workers N      processes (default: one per core, at most 8); the result does not depend on it
  --force          replace DIR, once the new one is complete

A run that was stopped goes on where it was when the same command is given again; until then its
files are in DIR.work.
END
}

published_arguments() {
    local corpus="$1" pair=''
    shift
    (($# > 0)) || usage_error
    sentencepiece=false force=false workers='' output=''
    download_options=()
    while (($# > 0)); do
        case "$1" in
            --output) need_value "$@"; output="$2"; shift 2 ;;
            --cache | --from-dir) need_value "$@"; download_options+=("$1=$2"); shift 2 ;;
            --workers) need_value "$@"; need_positive "$1" "$2"; workers="$2"; shift 2 ;;
            --sentencepiece) sentencepiece=true; shift ;;
            --force) force=true; shift ;;
            -h | --help) usage; exit 0 ;;
            -*) usage_error "unknown option '$1'" ;;
            *)
                [[ -z "$pair" ]] || usage_error "one language pair only: '$pair', then '$1'"
                pair="$1"
                shift
                ;;
        esac
    done
    [[ -n "$pair" ]] || usage_error "no language pair given"
    [[ "$pair" =~ ^([a-z]+)-([a-z]+)$ ]] || usage_error "'$pair' is no language pair like de-en"
    source="${BASH_REMATCH[1]}" target="${BASH_REMATCH[2]}"
    find_workers
    if [[ -z "$output" ]]; then
        output="data/$corpus.$pair"
        [[ "$sentencepiece" == false ]] || output+=.sentencepiece
    fi
    need_packages fairseq sacremoses subword_nmt sentencepiece
}

open_work() {
    output="$(python -c 'import os, sys; print(os.path.realpath(sys.argv[1]))' "$output")"
    fairseq_paths --output "$output" # prepare.sh looks too, but that runs last, hours later
    work="$output.work"
    archives="$work/archives"
    if [[ -e "$output" && "$force" == false && -e "$work" ]]; then
        note "$work is of a run that was stopped (unless one with --force is at work): delete it"
    fi
    check_output
    command -v flock >/dev/null || die "no flock on PATH; install util-linux (Debian, Ubuntu: apt-get install util-linux)"
    mkdir -p -- "$work"
    exec {work_lock}>"$work/lock"
    flock --nonblock "$work_lock" || die "another run is at work in $work"
    # Of another command or of other code, nothing may be taken over; of --workers all may.
    local now code=("$0" "$ROOT"/scripts/{archives/archives.json,runs/complete_files.py,corpora/*.{py,sh},prepare*.sh})
    now="$(printf '%s\n' "$@" "${download_options[@]}" "${LRDROP_ARCHIVES:-}"; cat -- "${code[@]}" | cksum)"
    if [[ -e "$work/command" && "$(<"$work/command")" == "$now" ]]; then
        note "going on with what an earlier run left in $work"
    else
        if [[ -e "$work/command" ]]; then
            note "starting anew: $work is of another command or version"
        elif [[ -n "$(find "$work" -mindepth 1 ! -name lock -print -quit)" ]]; then
            die "$work is in the way: it holds what this script has not made; move it, or choose another --output"
        fi
        # Not the command: a run that is killed in here would leave a folder that is not known as ours.
        find "$work" -mindepth 1 ! -name lock ! -name command -delete
        printf '%s\n' "$now" >"$work/command"
    fi
    keep_work=true
    trap leave_work EXIT
    # Without these a signal comes there with the status of the command before: a success.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# What was finished is kept for the next run; a signal says nothing of the archives.
leave_work() {
    local status=$?
    if ((status > 128)); then keep_work=true; fi
    if ((status == 0)) || [[ "$keep_work" == false ]] || [[ -z "$(find "$work" -maxdepth 1 -name 'done.*' -print -quit)" ]]; then
        rm -rf -- "$work"
    else
        note "what is finished stays in $work; the same command goes on from there"
    fi
}

step() {
    local name="$1"
    shift
    if [[ ! -e "$work/done.$name" ]]; then
        note "${name//_/ }"
        "$@"
        : >"$work/done.$name"
    fi
}

reading_step() {
    keep_work=false
    step "$@"
    keep_work=true
}

get() {
    local archive
    for archive in "$@"; do
        step "get_$archive" python "$ROOT/scripts/download.py" --into "$archives" \
            "${download_options[@]}" "$archive"
    done
}

tokens() {
    local lang="$1" from="$2" to="$3"
    shift 3
    step "tokenize_$(basename -- "$from")" "${MODULE[@]}" scripts.corpora.moses_corpus tokenize \
        --lang "$lang" --workers "$workers" "$@" "$from" "$to"
}

bpe() {
    step "apply_BPE_to_$(basename -- "$1")" "${MODULE[@]}" scripts.corpora.moses_corpus apply-bpe \
        --codes "$work/codes" --workers "$workers" "$1" "$2"
}

binarize() {
    local arguments=(--source-lang "$source" --target-lang "$target" --output "$output" --workers "$workers")
    [[ "$force" == false ]] || arguments+=(--force)
    # Run from within: prepare.sh takes a comma in a path for one between test sets.
    (cd -- "$work" && "$ROOT/scripts/prepare.sh" "${arguments[@]}" "${@#"$work/"}")
}
