# shellcheck shell=bash
# What the scripts share that prepare data: a folder that appears when it is complete. Sourced after common.sh.
#
#   find_workers            sets `workers`, where it is empty, to one per core, at most 8
#   find_output             makes `output` absolute, restores it from where an earlier run was stopped while it replaced
#                           it, and sets `replaced`, beside it
#   open_partial PREFIX     makes a folder of this process, in `partial`, that is gone when the script ends
#   check_output            die if `output` exists, unless `force` is true and a script like this one made it
#   move_folder FROM TO     renames a folder; dies where TO is there, rather than moving it into that
#   replace_output FROM OLD makes the folder FROM the `output`, as check_output allows; what is there goes through OLD
#   preprocess_in DIR ARG...  fairseq-preprocess with these arguments and `workers`, run in DIR

find_workers() {
    if [[ -n "$workers" ]]; then
        ((workers <= 1024)) || usage_error "--workers is at most 1024, not '$workers': each is a process"
        return
    fi
    workers="$(cores)"
    ((workers <= 8)) || workers=8
}

# Everything is written beside the output and renamed when it is complete.
find_output() {
    output="$(python -c 'import os, sys; print(os.path.realpath(sys.argv[1]))' "$output")"
    replaced="$output.prepare-replaced"
    if [[ -e "$replaced" && ! -e "$output" ]]; then
        note "an earlier run was stopped while it replaced $output; restoring that"
        move_folder "$replaced" "$output"
    fi
}

open_partial() {
    partial="$(own_folder "$1")"
    trap 'rm -rf -- "$partial"' EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
    remove_leftovers "$1"
    mkdir -p -- "$partial"
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

# Run from within, so that no character of the folder's path (a comma, say) can mislead fairseq.
preprocess_in() {
    local folder="$1"
    shift
    (
        cd -- "$folder" && # no exit by itself: behind || there is none
            python -m fairseq_cli.preprocess "$@" --workers "$workers" >preprocess.out 2>&1
    ) || {
        tail -n 20 -- "$folder/preprocess.out" >&2
        die "fairseq-preprocess failed; its last lines are above"
    }
}
