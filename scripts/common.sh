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
# A script that calls usage_error, need_value or need_positive defines a function `usage` that prints to stdout.

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
}
