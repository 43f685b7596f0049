#!/usr/bin/env bash
# Fine-tunes BART on a data directory made by prepare_cnn_dm.sh: plain, with R-Drop or with LR-Drop.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/runs/training.sh
source "$ROOT/scripts/runs/training.sh"

usage() {
    cat <<'END'
Usage: examples/summarization/finetune.sh DATA --bart BART --method METHOD --save-dir DIR [--seed N]
           [-- fairseq-train flags]

  DATA             data directory made by examples/summarization/prepare_cnn_dm.sh
  --bart BART      bart.large or bart.base: the public checkpoint, downloaded into models/ if it is not there
                         (gigabytes; with several processes run scripts/download.py first)
                   FILE: a checkpoint of the size of either, such as bart.large/model.pt; of another size
                         if the flags after -- say what it is (--arch lr_drop_bart ...)
  --method METHOD  plain    label-smoothed cross entropy
                   rdrop    R-Drop: LR-Drop's output term alone
                   lrdrop   LR-Drop: hidden, attention and output terms
  --save-dir DIR   checkpoints, train.log and train.json (what is trained here); a run that was
                   interrupted goes on from DIR/checkpoint_last.pt when the same command is given again, and
                   one that has ended says so and does nothing. One training at a time has DIR
  --seed N         random seed (default 1)

The settings are those of R-Drop's published code: 20,000 updates on 4 GPUs. What follows -- goes to
fairseq-train as it is and overrules them. Examples:
  -- --update-freq 64                              one GPU, the same batch
  -- --max-update 2000 --total-num-update 2000     a shorter run, the learning rate falling to 0 in it
  -- --lr-drop-hidden-weight 0.5                   another weight for a term of the loss
  -- --checkpoint-activations                      less memory, more time
  -- --tensorboard-logdir DIR                      curves for TensorBoard

All visible GPUs of this machine are used. Several machines, or processes without a GPU, are started by
torchrun, as examples/translation/README.md shows for scripts/train.sh.
END
}

data="" bart="" method="" save_dir="" seed=1 extra=()
while (($# > 0)); do
    case "$1" in
        --bart) need_value "$@"; bart="$2"; shift 2 ;;
        --method) need_value "$@"; method="$2"; shift 2 ;;
        --save-dir) need_value "$@"; save_dir="$2"; shift 2 ;;
        --seed) need_value "$@"; need_positive "$1" "$2"; seed="$2"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-train "$1"; shift ;;
    esac
done
if [[ -z "$data" ]]; then usage_error "no data directory given"; fi
need_options bart method save_dir
fairseq_paths DATA "$data" --bart "$bart" --save-dir "$save_dir"
refuse_flags 'save-dir|seed' 'give FLAG before --'
refuse_flags 'restore-file|finetune-from-model' 'FLAG cannot be given after --: use --bart FILE'
own_arch=no
for flag in "${extra[@]}"; do
    if [[ "$flag" =~ ^--(arch|a)(=|$) || "$flag" == -a ]]; then own_arch=yes; fi
done

find_rank

# R-Drop's published code: Liang et al. (NeurIPS 2021), github.com/dropreg/R-Drop,
# fairseq_src/examples/summeration_rdrop/script/run_train.sh.

# Task: documents of more than 1,024 tokens are cut there, the longest that BART takes.
task_flags=(--task translation --source-lang source --target-lang target --truncate-source)
# Model: one embedding table for source, target and output, as BART has; its dropout of pretraining.
model_flags=(
    --share-all-embeddings --share-decoder-input-output-embed --layernorm-embedding
    --dropout 0.1 --attention-dropout 0.1
)
loss_flags=(--label-smoothing 0.1)
# Optimizer: gradients are nearly always clipped at 0.1, so their scale hardly matters.
optimizer_flags=(
    --optimizer adam --adam-betas "(0.9, 0.999)" --adam-eps 1e-08 --weight-decay 0.01 --clip-norm 0.1
)
# Schedule: up in 500 updates, then straight down to 0 at 20,000, where training ends.
schedule_flags=(
    --lr-scheduler polynomial_decay --lr 3e-05 --warmup-updates 500
    --total-num-update 20000 --max-update 20000
)
# Batch: one long document, or some shorter ones, on each of 4 GPUs, 16 times: 64 x 1,024 tokens an update.
batch_flags=(--max-tokens 1024 --update-freq 16 --required-batch-size-multiple 1)
distributed_flags=(--find-unused-parameters)
# Checkpoints (ours): one each 1,000 updates to go on from, and the last three epochs to average.
checkpoint_flags=(
    --save-dir "$save_dir" --save-interval-updates 1000 --keep-interval-updates 1 --keep-last-epochs 3
)

# Their alpha of 0.7 is our 0.35: they add up the two passes' cross entropies, we take the mean. The other two
# weights are ours and not tuned. The terms act from the first update on: BART has converged already.
case "$method" in
    plain) loss_flags+=(--criterion label_smoothed_cross_entropy) ;;
    rdrop)
        loss_flags+=(--criterion lr_drop_label_smoothed_cross_entropy --lr-drop-start 0)
        loss_flags+=(--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0 --lr-drop-output-weight 0.35)
        ;;
    lrdrop)
        loss_flags+=(--criterion lr_drop_label_smoothed_cross_entropy --lr-drop-start 0)
        loss_flags+=(--lr-drop-hidden-weight 0.1 --lr-drop-attention-weight 1 --lr-drop-output-weight 0.35)
        ;;
    *) usage_error "--method is plain, rdrop or lrdrop, not '$method'" ;;
esac

need_command fairseq-train

# Checks the data and the checkpoint, refuses a DIR where something else was trained, and prints the architecture, the
# number of GPUs and the checkpoint's file. With a command it takes DIR, writes DIR/train.json and becomes the command.
keeper=(
    "${MODULE[@]}" examples.summarization.finetune_record "$data" "$save_dir"
    --bart "$bart" --method "$method" --seed "$seed" --flags="${extra[*]}"
)
if [[ "$own_arch" == yes ]]; then keeper+=(--any-size); fi
found="$("${keeper[@]}")" || exit 1
keeper+=(--)
IFS=$'\t' read -r arch devices checkpoint <<<"$found"
model_flags=(--arch "$arch" "${model_flags[@]}")
# Only for the first start: from then on fairseq takes checkpoint_last.pt, with optimizer and position.
checkpoint_flags+=(--finetune-from-model "$checkpoint")

log_flags=(--log-format "$(log_format)" --log-interval 50)
find_device "BART of a public size"
note_published_batch 4 16

if [[ -f "$save_dir/checkpoint_last.pt" ]]; then
    note "resuming from $save_dir/checkpoint_last.pt"
else
    note "starting from $checkpoint (no checkpoint_last.pt in $save_dir)"
fi

# Without torchrun, fairseq itself starts one process per visible GPU.
command_line=(
    fairseq-train "$data" --user-dir "$ROOT/lrdrop_fairseq" --seed "$seed"
    "${task_flags[@]}" "${model_flags[@]}" "${loss_flags[@]}"
    "${optimizer_flags[@]}" "${schedule_flags[@]}" "${batch_flags[@]}" "${distributed_flags[@]}"
    "${device_flags[@]}" "${checkpoint_flags[@]}" "${log_flags[@]}" "${extra[@]}"
)
note "fine-tuning $arch (method $method); log: $save_dir/train.log"
exec_logged "$save_dir/train.log" "${command_line[@]}"
