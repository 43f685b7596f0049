# shellcheck shell=bash
# What the scripts share that train, by themselves or under torchrun. Sourced after common.sh.
#
#   find_rank               sets `rank` and `processes`: those of torchrun, or 0 and 1
#   find_device [WHAT]      sets `device_flags` for those processes
#   note_published_batch DEVICES UPDATE_FREQ
#                           how to have the batch of a training that was published with so many, on the `devices`
#                           that there are (or as many as `processes`), unless `extra` has an --update-freq
#   log_format              prints the format of fairseq's log that suits standard error
#   exec_logged LOG CMD...  becomes the command, with a copy of its standard output in LOG; the first process by way
#                           of the command in `keeper`, which keeps the record of what is trained

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

# find_device [WHAT]: half precision on a GPU if WHAT is given, the model that takes very long without one, unless
# `extra` asks for something else.
# shellcheck disable=SC2034  # the caller reads device_flags
find_device() {
    device_flags=()
    if (($# == 0 && processes == 1)); then return; fi
    if has_cuda; then
        if (($# > 0)) && ! other_precision; then device_flags=(--fp16); fi
        return
    fi
    if (($# > 0)); then note "no CUDA device: training in float32 on the CPU, where $1 will take very long"; fi
    if ((processes > 1)); then
        note "no CUDA device: $processes processes on CPUs, with --distributed-backend gloo"
        device_flags=(--distributed-backend gloo)
    fi
}

# shellcheck disable=SC2154  # devices and extra are the caller's
note_published_batch() {
    local flag batches=$(($1 * $2))
    for flag in "${extra[@]}"; do
        if [[ "$flag" =~ ^--update-freq(=|$) ]]; then return; fi
    done
    if ((processes > 1 || devices == 0)); then devices="$processes"; fi
    if ((devices == $1)); then return; fi
    note "the published batch is that of $1 devices, here are $devices: '-- --update-freq $(((batches + devices - 1) / devices))' makes up for it"
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
