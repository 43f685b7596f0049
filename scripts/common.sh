# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run:
#   source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
#
# Defines
#   ROOT                    the repository's root, absolute
#   note MSG                one progress line on stderr, prefixed with the script's name
#   die MSG                 the message on stderr, exit 1
#   usage_error [MSG]       the message, then the script's own `usage` on stderr, exit 2
#   need_value "$@"         inside an option loop: usage_error unless $1 (the option) has a value in $2
#   need_positive OPT N     usage_error unless N is a whole number of at least 1
#   need_options NAME...    usage_error if one of these variables is empty; save_dir is that of --save-dir
#   need_packages NAME...   die unless there is a python and it has these packages
#   has_cuda                whether torch sees a GPU
# for the scripts that prepare data
#   find_workers            sets `workers`, where it is empty, to one per core, at most 8
#   check_output            die if `output` exists, unless `force` is true and a script like this one made it
#   move_folder FROM TO     renames a folder; dies where TO is there, rather than moving it into that
#   replace_output FROM OLD makes the folder FROM the `output`, as check_output allows; what is there goes through OLD
#   remove_leftovers PREFIX removes the folders PREFIX.PROCESS of processes that are no more
#   preprocess_in DIR ARG...  fairseq-preprocess with these arguments and `workers`, run in DIR
# for the scripts that end in a command of fairseq, and take flags for it behind --, in `extra`
#   take_argument NAME WHAT COMMAND ARG
#                           inside the option loop, for what is no option of the script: --help, or the one WHAT,
#                           which the variable NAME gets; usage_error otherwise
#   refuse_flags A|B MSG    usage_error if `extra` has the flag --A or --B, which FLAG stands for in MSG
#   need_command NAME       die unless fairseq's command is there
# and for the scripts that train
#   find_rank               sets `rank` and `processes`: those of torchrun, or 0 and 1
#   find_device             sets `device_flags` for those processes
#   log_format              prints the format of fairseq's log that suits standard error
#   exec_logged LOG CMD...  becomes the command, with a copy of its standard output in LOG; the first process by way
#                           of the command in `keeper`, which keeps the record of what is trained
# and for those that generate
#   check_checkpoint        usage_error unless either `checkpoint` is set, or `save_dir` and `average`
#   find_checkpoint         sets `checkpoint`, which it makes where an average is wanted
#   refuse_generation_flags [--beam] WHAT
#                           usage_error if `extra` has a flag that changes what is scored, or WHAT the script reads
#   open_generation OUTPUT SUBSET
#                           makes OUTPUT, and in it a folder of this process, in `work`, that is gone at its end
#   generate_logged ARG...  fairseq-generate with these arguments; what it prints goes to $work/log
# A script that calls what may end in usage_error defines a function `usage` that prints to stdout.

# A user's environment may look elsewhere for folders, hide the modules beside a script, and turn the warnings of
# libraries into errors. (A script that calls cd before it sources this one unsets CDPATH itself.)
unset CDPATH PYTHONSAFEPATH
if [[ "${PYTHONWARNINGS:-}" == *error* ]]; then unset PYTHONWARNINGS; fi

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

# An active environment is the user's choice; otherwise the one that scripts/install.sh made is used.
if [[ -z "${VIRTUAL_ENV:-}" && -d "$ROOT/.venv/bin" ]]; then
    PATH="$ROOT/.venv/bin:$PATH"
    export PATH
fi

note() {
    printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
}

die() {
    printf '%s: error: %s\n' "$(basename -- "$0")" "$*" >&2
    exit 1
}

usage_error() {
    if (($# > 0)); then
        printf '%s: error: %s\n\n' "$(basename -- "$0")" "$*" >&2
    fi
    usage >&2
    exit 2
}

# An option's value may be anything but absent, empty or another option: "--output --force" is a slip.
need_value() {
    if (($# < 2)) || [[ -z "$2" || "$2" == --* ]]; then
        usage_error "$1 needs a value"
    fi
}

need_positive() {
    if [[ ! "$2" =~ ^[1-9][0-9]*$ ]]; then
        usage_error "$1 must be a whole number of at least 1, not '$2'"
    fi
    # What the programs behind it count with.
    if ((${#2} > 10 || $2 > 2147483647)); then usage_error "$1 is at most 2147483647, not '$2'"; fi
}

# fairseq_paths NAME PATH [NAME PATH...]: refuses what fairseq, or a shell script, takes for something else in a path.
fairseq_paths() {
    while (($# > 0)); do
        case "$2" in
            *:*) usage_error "$1 '$2': fairseq takes ':' for a separator of directories" ;;
            *"\${"*) usage_error "$1 '$2': fairseq takes '\${' for the begin of a variable" ;;
            *$'\n'*) usage_error "$1 has a line break" ;;
        esac
        shift 2
    done
}

need_options() {
    local name
    for name in "$@"; do
        if [[ -z "${!name}" ]]; then usage_error "--${name//_/-} is missing"; fi
    done
}

take_argument() {
    local -n taken="$1"
    case "$4" in
        -h | --help) usage; exit 0 ;;
        -*) usage_error "unknown option $4 (flags for $3 go after --)" ;;
    esac
    if [[ -n "$taken" ]]; then usage_error "one $2 only: '$taken', then '$4'"; fi
    taken="$4"
}

refuse_flags() {
    local flag
    # shellcheck disable=SC2154  # the caller's
    for flag in "${extra[@]}"; do
        if [[ "$flag" =~ ^--($1)(=|$) ]]; then usage_error "${2//FLAG/${flag%%=*}}"; fi
    done
}

need_command() {
    command -v "$1" >/dev/null ||
        die "$1 is not on PATH: run scripts/install.sh, or activate the environment that has fairseq"
}

need_packages() {
    command -v python >/dev/null || die "no python on PATH; run scripts/install.sh first"
    local missing
    missing="$(python -c 'import importlib.util as u, sys
print(*(name for name in sys.argv[1:] if not u.find_spec(name)))' "$@")"
    [[ -z "$missing" ]] || die "$(command -v python) has no $missing; run scripts/install.sh first"
}

find_workers() {
    if [[ -n "$workers" ]]; then
        ((workers <= 1024)) || usage_error "--workers is at most 1024, not '$workers': each is a process"
        return
    fi
    workers="$(getconf _NPROCESSORS_ONLN)"
    ((workers <= 8)) || workers=8
}

# shellcheck disable=SC2154  # the caller's
check_output() {
    [[ -e "$output" ]] || return 0
    [[ "$force" == true ]] || die "$output exists; choose another --output, or replace it with --force"
    [[ -f "$output/prepare.json" ]] ||
        die "$output was not made by this script (it has no prepare.json), so --force does not replace it"
}

move_folder() {
    mv -T -- "$1" "$2" || die "$2 was made meanwhile, by another run with the same output? $1 is not put there"
}

# shellcheck disable=SC2154  # the caller's
replace_output() {
    check_output  # again: another run may have finished meanwhile
    if [[ -e "$output" ]]; then
        rm -rf -- "$2"
        move_folder "$output" "$2"
    fi
    move_folder "$1" "$output"
    rm -rf -- "$2"
}

remove_leftovers() {
    local leftover
    for leftover in "$1".*; do
        if [[ -d "$leftover" ]] && ! kill -0 "${leftover##*.}" 2>/dev/null; then
            note "removing what an earlier run left: $leftover"
            rm -rf -- "$leftover"
        fi
    done
}

# Run from within, so that no character of the folder's path (a comma, say) can mislead fairseq.
preprocess_in() {
    local folder="$1"
    shift
    (
        cd -- "$folder"
        python -m fairseq_cli.preprocess "$@" --workers "$workers" >preprocess.out 2>&1
    ) || {
        tail -n 20 -- "$folder/preprocess.out" >&2
        die "fairseq-preprocess failed; its last lines are above"
    }
}

has_cuda() {
    local seen
    seen="$(python -c 'import torch; print(torch.cuda.is_available())')" || die "$(command -v python) has no torch"
    [[ "$seen" == True ]]
}

# Under torchrun every process runs the script. The first one (rank 0) keeps the record and the log and prints the
# notes; the others check what it checks, so that all of them refuse together.
find_rank() {
    rank=0 processes=1
    if [[ -n "${MASTER_ADDR:-}" && -n "${MASTER_PORT:-}" && -n "${RANK:-}" && -n "${WORLD_SIZE:-}" ]]; then
        rank="$RANK" processes="$WORLD_SIZE"
    fi
    # shellcheck disable=SC2329  # called by whoever called this
    if ((rank > 0)); then note() { :; }; fi
}

# find_device [WHAT]: half precision on a GPU if WHAT is given, the model that takes very long without one.
# shellcheck disable=SC2034  # the caller reads device_flags
find_device() {
    device_flags=()
    if (($# == 0 && processes == 1)); then return; fi
    if has_cuda; then
        if (($# > 0)); then device_flags=(--fp16); fi
        return
    fi
    if (($# > 0)); then note "no CUDA device: training in float32 on the CPU, where $1 will take very long"; fi
    if ((processes > 1)); then
        note "no CUDA device: $processes processes on CPUs, with --distributed-backend gloo"
        device_flags=(--distributed-backend gloo)
    fi
}

# A progress bar for a person; plain lines where the output goes to a file or another program.
log_format() {
    if [[ -t 2 ]]; then printf 'tqdm\n'; else printf 'simple\n'; fi
}

# exec: a signal sent to the script reaches fairseq. The log is kept by tee because fairseq's --log-file repeats
# every line of epoch N N times; the progress bar goes to standard error. The statistics are those of all processes
# and come from rank 0; of the others only warnings and errors are left.
exec_logged() {
    local log="$1"
    shift
    note "command: $(printf '%q ' "$@")"
    if ((rank > 0)); then exec "$@" >&2; fi
    mkdir -p -- "$(dirname -- "$log")" || die "$(dirname -- "$log") cannot be made: give another --save-dir"
    # shellcheck disable=SC2154  # the caller's
    exec "${keeper[@]}" "$@" > >(exec tee -a -i -- "$log")
}

check_checkpoint() {
    if [[ -n "$checkpoint" ]]; then
        if [[ -n "$save_dir$average" ]]; then
            usage_error "either --checkpoint or --save-dir with --average"
        fi
    elif [[ -z "$save_dir" || -z "$average" ]]; then
        usage_error "give --checkpoint FILE, or --save-dir DIR with --average N"
    fi
}

find_checkpoint() {
    if [[ -n "$average" ]]; then
        checkpoint="$save_dir/averaged_last$average.pt"
        note "averaging the last $average checkpoints of $save_dir"
        local user_dir=() place
        for place in "${!extra[@]}"; do
            case "${extra[place]}" in
                --user-dir) user_dir=(--user-dir "${extra[place + 1]:-}") ;;
                --user-dir=*) user_dir=("${extra[place]}") ;;
            esac
        done
        python -m lrdrop_fairseq.average_checkpoints --save-dir "$save_dir" --last "$average" \
            "${user_dir[@]}" --output "$checkpoint"
    elif [[ ! -f "$checkpoint" ]]; then
        die "$checkpoint: no such checkpoint"
    fi
}

refuse_generation_flags() {
    # shellcheck disable=SC2154  # the caller's
    if ((${#extra[@]} == 0)); then return; fi
    need_packages fairseq
    local wrong
    wrong="$(python "$ROOT/scripts/generation_flags.py" "$@" "${extra[@]}")" || die "the flags after -- cannot be read"
    if [[ -n "$wrong" ]]; then usage_error "$wrong"; fi
}

# Several runs may have one output: each works in a folder of its own, and renames what it has made.
open_generation() {
    mkdir -p -- "$1"
    work="$(mktemp -d -- "$1/.generate.$2.XXXXXX")"
    trap 'rm -rf -- "$work"' EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
}

# fairseq draws its progress bar on standard error if that is a terminal; what it says there otherwise is of
# interest only when it fails. The plugin's refusals are sentences, and the last line.
generate_logged() {
    if [[ -t 2 ]]; then exec 3>&2; else exec 3>"$work/err"; fi
    if fairseq-generate "$@" >"$work/log" 2>&3; then
        exec 3>&-
        return
    fi
    if [[ -f "$work/err" ]]; then
        local refused
        refused="$(tail -n 1 -- "$work/err" | sed -n 's/^error: //p')"
        if [[ -n "$refused" ]]; then die "$refused"; fi
        tail -n 20 -- "$work/err" >&2
    fi
    die "fairseq-generate failed"
}
