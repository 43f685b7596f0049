# shellcheck shell=bash
# What all scripts of the project share. Sourced, never run:
#   source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# Beside it there are, sourced after it: corpora/output_folders.sh for the scripts that prepare data (and
# corpora/published.sh for published data sets), runs/training.sh for those that train, scores/generation.sh for those
# that translate or summarize.
#
# Defines
#   ROOT                    the repository's root, absolute
#   MODULE                  (array) the beginning of a command that runs one of the project's modules, which follows:
#                           "${MODULE[@]}" scripts.corpora.moses_corpus clean ...
#   note MSG                one progress line on stderr, prefixed with the script's name
#   die MSG                 the message on stderr, exit 1
#   usage_error [MSG]       the message, then the script's own `usage` on stderr, exit 2
#   need_value "$@"         inside an option loop: usage_error unless $1 (the option) has a value in $2
#   need_positive OPT N     usage_error unless N is a whole number of at least 1
#   fairseq_paths NAME PATH [NAME PATH...]
#                           usage_error for a path that fairseq, or a shell script, takes for something else
#   need_options NAME...    usage_error if one of these variables is empty; save_dir is that of --save-dir
#   need_packages NAME...   die unless there is a python and it has these packages
#   need_command NAME       die unless fairseq's command is there
#   has_cuda                whether torch sees a GPU
#   cores                   prints how many cores this process may use
#   own_folder PREFIX       prints a name that no other run has, of this machine or another: PREFIX.MACHINE.PROCESS
#   remove_leftovers PREFIX removes such folders of processes of this machine that are no more
#   stop_with_child         from here on a signal sent to the script reaches the process in `child` as well; it runs in the
#                           background, where the script waits for it
#   stoppable CMD...        runs a command so, to its end
# for the scripts that end in a command of fairseq, and take flags for it behind --, in `extra`
#   other_precision         whether `extra` asks for the CPU, or for a precision that does not go with --fp16
#   take_argument NAME WHAT COMMAND ARG
#                           inside the option loop, for what is no option of the script: --help, or the one WHAT,
#                           which the variable NAME gets; usage_error otherwise
#   refuse_flags A|B MSG    usage_error if `extra` has the flag --A or --B, which FLAG stands for in MSG
# A script that calls what may end in usage_error defines a function `usage` that prints to stdout.

# A user's environment may look elsewhere for folders, hide the modules beside a script, and turn the warnings of
# libraries into errors. (A script that calls cd before it sources this one unsets CDPATH itself.)
unset CDPATH PYTHONSAFEPATH
if [[ "${PYTHONWARNINGS:-}" == *error* ]]; then unset PYTHONWARNINGS; fi

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"

# shellcheck disable=SC2034  # for the scripts
MODULE=(python "$ROOT/scripts/runs/run_module.py")

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
    usage >&2
    if (($# > 0)); then
        printf '\n%s: error: %s\n' "$(basename -- "$0")" "$*" >&2
    fi
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

fairseq_paths() {
    while (($# > 0)); do
        case "$2" in
            -*) usage_error "$1 '$2': other programs take a name with '-' in front for an option; write './$2'" ;;
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

has_cuda() {
    local seen
    seen="$(python -c 'import torch; print(torch.cuda.is_available())')" || die "$(command -v python) has no torch"
    [[ "$seen" == True ]]
}

# nproc goes by OMP_NUM_THREADS, too, which is another thing: the threads of each process.
cores() {
    env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc
}

own_folder() {
    printf '%s.%s.%s\n' "$1" "$(uname -n)" $$
}

remove_leftovers() {
    local leftover machine
    machine="$(uname -n)"
    for leftover in "$1.$machine".*; do
        # Not kill -0, which fails for the process of another user, too.
        if [[ -d "$leftover" && ! -e "/proc/${leftover##*.}" ]]; then
            note "removing what an earlier run left: $leftover"
            rm -rf -- "$leftover"
        fi
    done
}

stop_with_child() {
    child=""
    trap 'end_child 143' TERM
    trap 'end_child 130' INT
}

end_child() {
    trap - TERM INT
    if [[ -n "$child" ]]; then kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; fi
    exit "$1"
}

stoppable() {
    "$@" &
    child=$!
    wait "$child" || return
    child=""
}

# With --fp16, --cpu leaves a model as it began on a machine that has a GPU, without a word; fairseq refuses the others.
other_precision() {
    # shellcheck disable=SC2154  # the caller's
    [[ " ${extra[*]} " =~ \ --(cpu|amp|bf16|memory-efficient-bf16)\  ]]
}
