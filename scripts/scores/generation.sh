# shellcheck shell=bash
# What the scripts share that translate or summarize with a checkpoint. Sourced after common.sh.
#
#   take_model "$@"         inside the option loop: sets `checkpoint`, `save_dir`, `average` or `output` from $1 and $2
#   check_model             usage_error unless `data` is set, and either `checkpoint` or `save_dir` and `average`; or where
#                           fairseq takes one of these paths for something else
#   find_checkpoint         sets `checkpoint`, which it makes where an average is wanted
#   refuse_generation_flags [--beam] WHAT
#                           usage_error if `extra` has a flag that changes what is scored, or WHAT the script reads
#   open_generation OUTPUT SUBSET
#                           makes OUTPUT, and in it a folder of this process, in `work`, that is gone at its end
#   generate_logged ARG...  fairseq-generate with these arguments; what it prints goes to $work/log

take_model() {
    need_value "$@"
    case "$1" in
        --checkpoint) checkpoint="$2" ;;
        --save-dir) save_dir="$2" ;;
        --average) need_positive "$1" "$2"; average="$2" ;;
        --output) output="$2" ;;
    esac
}

# shellcheck disable=SC2154  # the caller's
check_model() {
    if [[ -z "$data" ]]; then usage_error "no data directory given"; fi
    fairseq_paths DATA "$data" --checkpoint "$checkpoint" --save-dir "$save_dir" --output "$output"
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
        # shellcheck disable=SC2154  # the caller's
        for place in "${!extra[@]}"; do
            case "${extra[place]}" in
                --user-dir) user_dir=(--user-dir "${extra[place + 1]:-}") ;;
                --user-dir=*) user_dir=("${extra[place]}") ;;
            esac
        done
        "${MODULE[@]}" lrdrop_fairseq.average_checkpoints --save-dir "$save_dir" --last "$average" \
            "${user_dir[@]}" --output "$checkpoint"
    elif [[ ! -f "$checkpoint" ]]; then
        die "$checkpoint: no such checkpoint"
    fi
}

refuse_generation_flags() {
    if ((${#extra[@]} == 0)); then return; fi
    need_packages fairseq
    local wrong
    wrong="$("${MODULE[@]}" scripts.scores.generation_flags "$@" "${extra[@]}")" || die "the flags after -- cannot be read"
    if [[ -n "$wrong" ]]; then usage_error "$wrong"; fi
}

# Several runs may have one output: each works in a folder of its own, and renames what it has made.
open_generation() {
    remove_leftovers "$1/.generate.$2"
    work="$(own_folder "$1/.generate.$2")"
    trap 'rm -rf -- "$work"' EXIT
    stop_with_child
    mkdir -p -- "$work"
}

# fairseq draws its progress bar on standard error if that is a terminal; what it says there otherwise is of
# interest only when it fails. The plugin's refusals are sentences, and the last line.
generate_logged() {
    if [[ -t 2 ]]; then exec 3>&2; else exec 3>"$work/err"; fi
    fairseq-generate "$@" >"$work/log" 2>&3 &
    child=$!
    exec 3>&-
    if wait "$child"; then
        child=""
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
