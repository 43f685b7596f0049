#!/usr/bin/env bash
# Trains a language model on a data directory made by prepare.sh: plain, with R-Drop or with LR-Drop.
set -euo pipefail
unset CDPATH
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$HERE/../../scripts/common.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/runs/training.sh
source "$ROOT/scripts/runs/training.sh"

usage() {
    cat <<'USAGE'
Usage: examples/language_model/train.sh DATA --method METHOD --preset PRESET --save-dir DIR [--seed N]
           [-- fairseq-train flags]

  DATA             data directory made by a prepare*.sh of examples/language_model
  --method METHOD  plain    cross entropy
                   rdrop    R-Drop: LR-Drop's output term alone
                   lrdrop   LR-Drop: hidden, attention and output terms
  --preset PRESET  small    6 layers, d 256, for a small corpus on one device; ours, not published
                   gpt      transformer_lm_gpt as R-Drop was published with on WikiText-103; 50,000 updates on 8 GPUs
                   wiki103  transformer_lm_wiki103 (adaptive input and softmax) likewise; 320,000 updates on 8 GPUs
  --save-dir DIR   checkpoints, train.log and train.json (what is trained here); a run that was
                   interrupted goes on from DIR/checkpoint_last.pt when the same command is given again, and
                   one that has ended says so and does nothing. One training at a time has DIR
  --seed N         random seed (default 1)

What follows -- goes to fairseq-train as it is and overrules the preset. Examples:
  -- --max-update 1000                             a shorter run
  -- --update-freq 128                             preset gpt on one GPU, the published batch
  -- --lr-drop-output-weight 1.0                   another weight for a term of the loss
  -- --lr-drop-start 5000 --lr-drop-ramp 500       terms that act after 5,000 updates, and rise in 500
  -- --finetune-from-model plain/checkpoint_last.pt --lr-drop-start 0 --lr 0.0001 --max-update 3000
                                                   go on from a converged model, with the terms at once
  -- --sample-break-mode eos                       each sample one line, instead of --tokens-per-sample
                                                   tokens without regard to lines
  -- --tensorboard-logdir DIR                      curves for TensorBoard

All visible GPUs of this machine are used. Several machines, or processes without a GPU, are started by
torchrun, as examples/translation/README.md shows for scripts/train.sh.
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

task_flags=(--task language_modeling --sample-break-mode none --skip-invalid-size-inputs-valid-test)
checkpoint_flags=(--save-dir "$save_dir" --keep-last-epochs 10)
# With R-Drop's published weight; its code adds up the two passes' cross entropies, we take the mean: alpha 1.0 is our
# 0.5. It acts from the first update on there. LR-Drop's terms start late, as they do by default.
rdrop_flags=(--lr-drop-output-weight 0.5 --lr-drop-start 0)
lrdrop_flags=(--lr-drop-output-weight 0.5)
half_precision=no
case "$preset" in
    small)
        # Not published, and not tuned: a model that some hours of two cores can train.
        task_flags+=(--tokens-per-sample 128)
        model_flags=(
            --arch lr_drop_transformer_lm_gpt --share-decoder-input-output-embed --dropout 0.3
            --decoder-layers 6 --decoder-embed-dim 256 --decoder-input-dim 256 --decoder-output-dim 256
            --decoder-ffn-embed-dim 1024 --decoder-attention-heads 4
        )
        optimizer_flags=(--optimizer adam --adam-betas "(0.9, 0.98)" --weight-decay 0.01 --clip-norm 0.0 --lr 0.001)
        schedule_flags=(
            --lr-scheduler inverse_sqrt --warmup-updates 1000 --warmup-init-lr 1e-07 --max-update 10000
        )
        batch_flags=(--max-tokens 4096)
        rdrop_flags=() lrdrop_flags=()
        published_frequency='' log_interval=50
        ;;
    gpt)
        # R-Drop's published code: github.com/dropreg/R-Drop,
        # fairseq_src/examples/language_model_rdrop/script/train_lm_wiki103_rdrop.sh.
        task_flags+=(--tokens-per-sample 512)
        model_flags=(--arch lr_drop_transformer_lm_gpt --share-decoder-input-output-embed --dropout 0.1)
        optimizer_flags=(--optimizer adam --adam-betas "(0.9, 0.98)" --weight-decay 0.01 --clip-norm 0.0 --lr 0.0005)
        schedule_flags=(
            --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 --max-update 50000
        )
        batch_flags=(--max-tokens 2000 --update-freq 16 --ddp-backend legacy_ddp)
        half_precision=yes
        published_frequency=16 log_interval=100
        ;;
    wiki103)
        # The same, script/train_lm_adaptive_wiki103_rdrop.sh; the plain training there has 286,000 updates, all else
        # is fairseq's own setting (Baevski and Auli, ICLR 2019).
        task_flags+=(--tokens-per-sample 3072)
        model_flags=(--arch lr_drop_transformer_lm_wiki103)
        optimizer_flags=(--optimizer nag --clip-norm 0.1 --lr 1.0)
        schedule_flags=(
            --lr-scheduler cosine --lr-period-updates 270000 --lr-shrink 0.75 --t-mult 2
            --min-lr 0.0001 --stop-min-lr 1e-09 --warmup-updates 16000 --warmup-init-lr 1e-07
        )
        if [[ "$method" == plain ]]; then schedule_flags+=(--max-update 286000); else schedule_flags+=(--max-update 320000); fi
        batch_flags=(--max-tokens 3072 --update-freq 3 --ddp-backend legacy_ddp)
        half_precision=yes
        published_frequency=3 log_interval=100
        ;;
    *) usage_error "--preset is small, gpt or wiki103, not '$preset'" ;;
esac

# With all weights 0 the criterion is fairseq's own to the last bit: cross_entropy, or adaptive_loss of wiki103.
off=(--lr-drop-hidden-weight 0 --lr-drop-attention-weight 0)
loss_flags=(--criterion lr_drop_cross_entropy)
case "$method" in
    plain) loss_flags+=("${off[@]}" --lr-drop-output-weight 0 --lr-drop-start 0) ;;
    rdrop) loss_flags+=("${off[@]}" "${rdrop_flags[@]}") ;;
    lrdrop) loss_flags+=("${lrdrop_flags[@]}") ;;
    *) usage_error "--method is plain, rdrop or lrdrop, not '$method'" ;;
esac

need_command fairseq-train
# As in scripts/train.sh: on a CPU, waiting threads sleep instead of spinning.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

# Checks the data, refuses a DIR where something else was trained, and prints the number of GPUs. With a command it
# takes DIR, writes DIR/train.json and becomes the command.
keeper=(
    "${MODULE[@]}" examples.language_model.train_record "$data" "$save_dir"
    --method "$method" --preset "$preset" --seed "$seed" --flags="${extra[*]}"
)
devices="$("${keeper[@]}")" || exit 1
keeper+=(--)

log_flags=(--log-format "$(log_format)" --log-interval "$log_interval")
if [[ "$half_precision" == yes ]]; then find_device "a model of this size"; else find_device; fi
if [[ -n "$published_frequency" ]]; then note_published_batch 8 "$published_frequency"; fi
if [[ -f "$save_dir/checkpoint_last.pt" ]]; then note "resuming from $save_dir/checkpoint_last.pt"; fi

# Without torchrun, fairseq itself starts one process per visible GPU.
command_line=(
    fairseq-train "$data" --user-dir "$ROOT/lrdrop_fairseq" --seed "$seed"
    "${task_flags[@]}" "${model_flags[@]}" "${loss_flags[@]}"
    "${optimizer_flags[@]}" "${schedule_flags[@]}" "${batch_flags[@]}"
    "${device_flags[@]}" "${checkpoint_flags[@]}" "${log_flags[@]}" "${extra[@]}"
)
note "training preset $preset (method $method); log: $save_dir/train.log"
exec_logged "$save_dir/train.log" "${command_line[@]}"
