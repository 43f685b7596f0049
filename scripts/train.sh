#!/usr/bin/env bash
# Trains a translation model on a data directory made by prepare.sh: plain, with R-Drop or with LR-Drop.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/runs/training.sh
source "$ROOT/scripts/runs/training.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/train.sh DATA --method METHOD --preset PRESET --save-dir DIR [--seed N] [-- fairseq-train flags]

  DATA             data directory made by scripts/prepare.sh
  --method METHOD  plain    label-smoothed cross entropy
                   rdrop    R-Drop: LR-Drop's output term alone
                   lrdrop   LR-Drop: hidden, attention and output terms
  --preset PRESET  multi30k Transformer-Tiny of Wu et al. (ACL 2021); 2.6M parameters, 8,000 updates
                   iwslt    transformer_iwslt_de_en as R-Drop was published with; 300,000 updates
                   wmt      Transformer-big of Ott et al. (WMT 2018); 300,000 updates
  --save-dir DIR   checkpoints, train.log and train.json (what is trained here); a run that was
                   interrupted goes on from DIR/checkpoint_last.pt when the same command is given again, and
                   one that has ended says so and does nothing. One training at a time has DIR
  --seed N         random seed (default 1)

What follows -- goes to fairseq-train as it is and overrules the preset. Examples:
  -- --max-update 1000                             a shorter run
  -- --update-freq 2                               twice the batch, same memory
  -- --max-tokens 2048 --update-freq 2             same batch, half the memory
  -- --lr-drop-output-weight 1.0                   another weight for a term of the loss
  -- --lr-drop-start 5000 --lr-drop-ramp 500       terms that act after 5,000 updates (default 0.67: after
                                                   two thirds), and rise to their weights in 500
  -- --finetune-from-model plain/checkpoint_last.pt --lr-drop-start 0 --lr 0.001 --warmup-updates 200 --max-update 2000
                                                   go on from a converged model, with the terms at once
  -- --tensorboard-logdir DIR                      curves for TensorBoard
  -- --log-format json                             statistics as JSON, in train.log too
  -- --eval-bleu --eval-bleu-remove-bpe --best-checkpoint-metric bleu --maximize-best-checkpoint-metric
                                                   the best checkpoint by BLEU on the validation set, not by
                                                   loss (slower; sentencepiece data: --eval-bleu-remove-bpe
                                                   sentencepiece)

All visible GPUs of this machine are used. Several machines, or processes without a GPU, are started by torchrun:
  torchrun --standalone --nproc-per-node 2 --no-python scripts/train.sh DATA --method lrdrop --preset multi30k --save-dir DIR
On each of several machines, which share DATA and DIR, torchrun gets instead of --standalone
--nnodes 2 --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29500.
USAGE
}

data="" method="" preset="" save_dir="" seed=1 extra=()
while (($# > 0)); do
    case "$1" in
        --method) need_value "$@"; method="$2"; shift 2 ;;
        --preset) need_value "$@"; preset="$2"; shift 2 ;;
        --save-dir) need_value "$@"; save_dir="$2"; shift 2 ;;
        --seed) need_value "$@"; need_positive "$1" "$2"; seed="$2"; shift 2 ;;
        --) shift; extra=("$@"); break ;;
        *) take_argument data "data directory" fairseq-train "$1"; shift ;;
    esac
done
if [[ -z "$data" ]]; then usage_error "no data directory given"; fi
need_options method preset save_dir
fairseq_paths DATA "$data" --save-dir "$save_dir"
refuse_flags 'save-dir|seed' 'give FLAG before --'

find_rank

# What the three presets share: the Transformer's usual optimization, one embedding table for both
# languages and the output, and a checkpoint per epoch of which the last ten stay (evaluate.sh averages them).
task_flags=(--task translation --share-all-embeddings)
loss_flags=(--label-smoothing 0.1)
optimizer_flags=(--optimizer adam --adam-betas "(0.9, 0.98)" --clip-norm 0.0)
schedule_flags=(--lr-scheduler inverse_sqrt --warmup-init-lr 1e-07)
checkpoint_flags=(--save-dir "$save_dir" --keep-last-epochs 10)
half_precision=no
# What an iwslt or wmt training has beside the criterion's defaults, which were found on small data: the output term's
# weight in the published R-Drop (its alpha of 5), which acts from the first update on.
rdrop_flags=(--lr-drop-output-weight 2.5 --lr-drop-start 0)
lrdrop_flags=(--lr-drop-output-weight 2.5)

# Every method uses an lr_drop_* architecture: without LR-Drop's criterion it is fairseq's own, to the last bit.
case "$preset" in
    multi30k)
        # Wu et al., "Good for Misconceived Reasons" (ACL 2021), text-only Transformer-Tiny. Theirs ran on two
        # GPUs with 4,096 tokens each: on one device `-- --update-freq 2` gives the same batch. Their patience of 10
        # is left out: it would strike where late terms begin, and plain training would have fewer updates.
        arch=lr_drop_transformer_multi30k
        model_flags=(--arch "$arch" --dropout 0.3)
        optimizer_flags+=(--lr 0.005 --weight-decay 0.0)
        schedule_flags+=(--warmup-updates 2000 --max-update 8000)
        batch_flags=(--max-tokens 4096)
        rdrop_flags=() lrdrop_flags=()
        log_interval=50
        ;;
    iwslt)
        # The published R-Drop code for IWSLT14 De-En (Liang et al., NeurIPS 2021), one GPU. It picks the best
        # checkpoint by BLEU; here by loss unless the flags in the usage text are given, as the recipes do.
        arch=lr_drop_transformer_iwslt_de_en
        model_flags=(--arch "$arch" --dropout 0.3)
        optimizer_flags+=(--lr 0.0005 --weight-decay 0.0001)
        schedule_flags+=(--warmup-updates 4000 --max-update 300000)
        batch_flags=(--max-tokens 4096)
        half_precision=yes
        log_interval=100
        ;;
    wmt)
        # Ott et al., "Scaling Neural Machine Translation" (WMT 2018), Transformer-big on WMT En-De. Their
        # large-batch result: eight GPUs with `-- --update-freq 16 --lr 0.001`. The 300,000 updates are those
        # of the big model in Vaswani et al. (NIPS 2017). What WMT14 En-De was trained with for R-Drop, and En-Fr
        # by Ott et al., is in examples/translation/wmt14_*.sh.
        arch=lr_drop_transformer_vaswani_wmt_en_de_big
        model_flags=(--arch "$arch" --dropout 0.3)
        optimizer_flags+=(--lr 0.0005 --weight-decay 0.0)
        schedule_flags+=(--warmup-updates 4000 --max-update 300000)
        batch_flags=(--max-tokens 3584)
        half_precision=yes
        log_interval=100
        ;;
    *) usage_error "--preset is multi30k, iwslt or wmt, not '$preset'" ;;
esac

case "$method" in
    plain) loss_flags+=(--criterion label_smoothed_cross_entropy) ;;
    rdrop)
        loss_flags+=(--criterion lr_drop_label_smoothed_cross_entropy)
        loss_flags+=(--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0 "${rdrop_flags[@]}")
        ;;
    lrdrop) loss_flags+=(--criterion lr_drop_label_smoothed_cross_entropy "${lrdrop_flags[@]}") ;;
    *) usage_error "--method is plain, rdrop or lrdrop, not '$method'" ;;
esac

need_command fairseq-train

# Waiting threads sleep instead of spinning: on a CPU, one other busy process otherwise makes an update of a small
# model many times slower. On a GPU it is of no account. A value that is set already stays.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

# Checks the data directory, refuses a DIR where something else was trained, and prints the two languages. With a
# command it takes DIR, writes DIR/train.json and becomes the command.
keeper=(
    "${MODULE[@]}" scripts.runs.train_record "$data" "$save_dir"
    --method "$method" --preset "$preset" --seed "$seed" --flags="${extra[*]}"
)
languages="$("${keeper[@]}")" || exit 1
keeper+=(--)
read -r source_lang target_lang <<<"$languages"
task_flags+=(--source-lang "$source_lang" --target-lang "$target_lang")

log_flags=(--log-format "$(log_format)" --log-interval "$log_interval")
if [[ "$half_precision" == yes ]]; then find_device "preset '$preset'"; else find_device; fi

if [[ -f "$save_dir/checkpoint_last.pt" ]]; then
    note "resuming from $save_dir/checkpoint_last.pt"
else
    note "starting a new training (no checkpoint_last.pt in $save_dir)"
fi

# Without torchrun, fairseq itself starts one process per visible GPU.
command_line=(
    fairseq-train "$data" --user-dir "$ROOT/lrdrop_fairseq" --seed "$seed"
    "${task_flags[@]}" "${model_flags[@]}" "${loss_flags[@]}"
    "${optimizer_flags[@]}" "${schedule_flags[@]}" "${batch_flags[@]}" "${device_flags[@]}"
    "${checkpoint_flags[@]}" "${log_flags[@]}" "${extra[@]}"
)
note "training $arch ($source_lang-$target_lang, method $method); log: $save_dir/train.log"
exec_logged "$save_dir/train.log" "${command_line[@]}"
