#!/usr/bin/env bash
# Fine-tunes a pretrained encoder on one GLUE task or on own text with several seeds: plain, with R-Drop or with
# LR-Drop.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/runs/training.sh
source "$ROOT/scripts/runs/training.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_understanding/finetune.sh TASK DATA --encoder FOLDER | --model FILE --arch ARCH
           --method METHOD --save-dir DIR [--seeds 1,2,3,4,5] [--epochs N] [-- fairseq-train flags]

  TASK             CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI or RTE; or the NAME that prepare_text.sh made
  DATA             the folder that has DATA/TASK: the --output of prepare_glue.sh, the DIR of prepare_text.sh
  --encoder FOLDER the pretrained model, from python -m lrdrop_fairseq.import_encoder; the data are prepared with
                   the same. Sizes and all that belongs to the model are taken from FOLDER/import.json
  --model FILE     the pretrained checkpoint: model.pt of the public roberta.base or roberta.large
  --arch ARCH      lr_drop_roberta_base or lr_drop_roberta_large, as FILE needs it
  --method METHOD  plain    cross entropy (of numbers: mean squared error)
                   rdrop    R-Drop: LR-Drop's output term alone
                   lrdrop   LR-Drop: hidden, attention and output terms
  --save-dir DIR   DIR/seedN gets checkpoint_best.pt (by the task's own metric on the validation set), train.log
                   and finetune.json (what is fine-tuned there)
  --seeds LIST     one run after the other for each (default 1,2,3,4,5)
  --epochs N       of own text: how often all of it is trained on (default 10)

A seed that is finished is skipped; one that was interrupted goes on from its checkpoint_last.pt, which is
written after each epoch. Learning rate, batch size, updates and warm-up are those of tasks.tsv; of own text 5e-5,
16, what --epochs makes, and 6 % of that.

What follows -- goes to fairseq-train as it is and overrules the rest. Examples:
  -- --batch-size 8 --update-freq 2                same batch, half the memory
  -- --lr-drop-output-weight 1.0                   another weight for a term of the loss
  -- --save-interval-updates 1000 --keep-interval-updates 1   a point to resume from within long epochs
USAGE
}

task="" data="" encoder="" model="" arch="" method="" save_dir="" seeds=1,2,3,4,5 epochs="" extra=()
while (($# > 0)); do
    case "$1" in
        --encoder) need_value "$@"; encoder="$2"; shift 2 ;;
        --model) need_value "$@"; model="$2"; shift 2 ;;
        --arch) need_value "$@"; arch="$2"; shift 2 ;;
        --method) need_value "$@"; method="$2"; shift 2 ;;
        --save-dir) need_value "$@"; save_dir="$2"; shift 2 ;;
        --seeds) need_value "$@"; seeds="$2"; shift 2 ;;
        --epochs) need_value "$@"; need_positive "$1" "$2"; epochs="$2"; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        --) shift; extra=("$@"); break ;;
        -*) usage_error "unknown option $1 (flags for fairseq-train go after --)" ;;
        *)
            if [[ -z "$task" ]]; then task="$1"
            elif [[ -z "$data" ]]; then data="$1"
            else usage_error "one task and one data directory only: '$task' '$data', then '$1'"; fi
            shift
            ;;
    esac
done
if [[ -z "$task" ]]; then usage_error "no task given"; fi
if [[ -z "$data" ]]; then usage_error "no data directory given"; fi
if [[ -z "$encoder" ]]; then
    need_options model arch method save_dir
else
    [[ -z "$model$arch" ]] || usage_error "either --encoder, or --model with --arch: both name the pretrained model"
    need_options method save_dir
fi
[[ "$seeds" =~ ^[0-9]+(,[0-9]+)*$ ]] || usage_error "--seeds is a list of numbers as 1,2,3, not '$seeds'"
refuse_flags 'save-dir|seed|arch|criterion|restore-file|finetune-from-model' \
    'FLAG does not go after --: give --save-dir, --seeds, --arch, --method or --model (--encoder) before it'

if [[ -n "$encoder" ]]; then
    refuse_flags 'max-positions' 'FLAG does not go with --encoder, whose model has as many positions as it was imported with'
fi

find_rank
((processes == 1)) || die "this trains on one device, not under torchrun: give the GPUs several tasks or seeds"
need_command fairseq-train
settings="$("${MODULE[@]}" examples.language_understanding.sentence_tasks "$task" "$data" ${epochs:+"--epochs=$epochs"})" || exit 1
read -r classes metric lr batch_size total_updates warmup_updates max_tokens <<<"$settings"
[[ -f "$data/$task/prepare.json" ]] ||
    die "$data/$task/prepare.json does not exist: make the data with prepare_glue.sh $task --output $data"

# Every method uses an lr_drop_* architecture: without LR-Drop's criterion it is fairseq's own.
if [[ -n "$encoder" ]]; then
    of_encoder="$("${MODULE[@]}" examples.language_understanding.encoder_flags "$encoder" "$data/$task")" || exit 1
    mapfile -t model_flags <<<"$of_encoder"
    arch="${model_flags[0]}" model="$encoder/model.pt"
    model_flags=(--arch "${model_flags[@]}")
    [[ -f "$model" ]] || die "$model does not exist: make $encoder again with import_encoder"
else
    [[ -f "$model" ]] || die "$model does not exist: it is the pretrained checkpoint, model.pt of roberta.base or roberta.large"
    [[ ! -f "$data/$task/encoder/import.json" ]] ||
        die "$data/$task was prepared with --encoder: give that --encoder instead of --model and --arch"
    # <s> first sentence </s> </s> second sentence </s>, as RoBERTa was pretrained, with 512 positions.
    model_flags=(--arch "$arch" --dropout 0.1 --attention-dropout 0.1 --separator-token 2 --max-positions 512)
fi

# What is longer than the model's positions is cut, so that every example counts.
task_flags=(--task sentence_prediction --num-classes "$classes" --init-token 0 --shorten-method truncate)

case "$method" in
    plain) loss_flags=(--criterion sentence_prediction) ;;
    rdrop)
        loss_flags=(--criterion lr_drop_sentence_prediction)
        loss_flags+=(--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0)
        ;;
    lrdrop) loss_flags=(--criterion lr_drop_sentence_prediction) ;;
    *) usage_error "--method is plain, rdrop or lrdrop, not '$method'" ;;
esac
if ((classes == 1)); then loss_flags+=(--regression-target); fi

# The best checkpoint is that of the epoch with the best value of the task's metric, which fairseq rounds to a
# tenth of a percent; of equal ones the last.
if [[ "$metric" != accuracy ]]; then loss_flags+=("--report-${metric//_/-}"); fi
best_flags=(--best-checkpoint-metric "$metric" --maximize-best-checkpoint-metric)

# fairseq's published optimizer for RoBERTa on GLUE; learning rate and schedule by sentence_tasks.py.
optimizer_flags=(--optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-06 --weight-decay 0.1 --clip-norm 0.0)
schedule_flags=(--lr "$lr" --lr-scheduler polynomial_decay --warmup-updates "$warmup_updates")
schedule_flags+=(--total-num-update "$total_updates" --max-update "$total_updates")

# fairseq's for GLUE: a batch of long examples is smaller, so that it fits into memory.
batch_flags=(--batch-size "$batch_size" --required-batch-size-multiple 1)
if ((max_tokens > 0)); then batch_flags+=(--max-tokens "$max_tokens"); fi

# One process: these batch sizes are those of one device.
device_flags=(--distributed-world-size 1)
if other_precision; then
    : # what was asked for
elif has_cuda; then
    device_flags+=(--fp16 --fp16-init-scale 4 --threshold-loss-scale 1 --fp16-scale-window 128)
else
    note "no CUDA device: fine-tuning in float32 on the CPU, where a public checkpoint takes very long"
fi

log_flags=(--log-format "$(log_format)" --log-interval 100)

# A run is in the background so that a signal sent to this script reaches it.
stop_with_child

# What makes two runs different, as the record and the summary show it.
record_flags="${epochs:+--epochs $epochs${extra[*]:+ }}${extra[*]}"
note "$task: $total_updates updates in batches of $batch_size, $warmup_updates of them warm-up, unless flags say otherwise"

IFS=',' read -r -a seed_list <<<"$seeds"
for seed in "${seed_list[@]}"; do
    folder="$save_dir/seed$seed"
    keeper=(
        "${MODULE[@]}" examples.language_understanding.run_record begin "$folder" --task "$task" --method "$method" --arch "$arch"
        --model "$model" --data "$data" --seed "$seed" --flags="$record_flags"
    )
    state="$("${keeper[@]}")" || exit 1
    case "$state" in
        finished) note "$task, $method, seed $seed is finished: $folder"; continue ;;
        resume) note "$task, $method, seed $seed: resuming from $folder/checkpoint_last.pt" ;;
        *) note "$task, $method, seed $seed: starting from $model" ;;
    esac
    # --finetune-from-model counts only where there is no checkpoint_last.pt.
    command_line=(
        fairseq-train "$data/$task" --user-dir "$ROOT/lrdrop_fairseq" --seed "$seed"
        "${task_flags[@]}" "${model_flags[@]}" --finetune-from-model "$model" "${loss_flags[@]}"
        "${optimizer_flags[@]}" "${schedule_flags[@]}" "${batch_flags[@]}" "${device_flags[@]}"
        --save-dir "$folder" --no-epoch-checkpoints "${best_flags[@]}" "${log_flags[@]}" "${extra[@]}"
    )
    note "command: $(printf '%q ' "${command_line[@]}")"
    # The keeper takes the folder, and becomes the training.
    "${keeper[@]}" -- "${command_line[@]}" > >(exec tee -a -i -- "$folder/train.log") &
    child=$!
    wait "$child" || die "fine-tuning failed; what it said is above and in $folder/train.log"
    child=""
    "${MODULE[@]}" examples.language_understanding.run_record finish "$folder"
    note "$task, $method, seed $seed: finished, $folder/checkpoint_best.pt"
done
