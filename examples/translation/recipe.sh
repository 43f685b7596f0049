# shellcheck shell=bash
# What the recipes of this folder share: from the public data to the score. Sourced, never run. A recipe sets
#   dataset         iwslt14, iwslt17 or wmt14: scripts/prepare_DATASET.sh makes its data
#   directions      the directions SOURCE-TARGET that it trains
#   preset          of scripts/train.sh
#   train_flags     beside the preset, for fairseq-train
#   evaluate_flags  the checkpoint's choice and the protocol, for scripts/evaluate.sh
#   generate_flags  the same, for fairseq-generate
# and then calls `recipe "$@"`.
# shellcheck disable=SC2154
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/common.sh"

usage() {
    cat <<USAGE
Usage: examples/translation/$(basename -- "$0") DIRECTION [--method lrdrop] [--seed 1] [--data DIR] [--save-dir DIR]
           [--sentencepiece] [--cache DIR] [--from-dir DIR] [-- fairseq-train flags]

  DIRECTION        ${directions[*]}
  --method METHOD  plain, rdrop or lrdrop (default)
  --seed N         random seed (default 1)
  --data DIR       the data; made by scripts/prepare_$dataset.sh if it does not exist
                   (default data/$dataset.DIRECTION)
  --save-dir DIR   checkpoints, log and scores (default checkpoints/$dataset.DIRECTION/METHOD-seedN)
  --sentencepiece  cased text through sentencepiece, for sacreBLEU, instead of the tokens of the published results
                   (default of --data then: data/$dataset.DIRECTION.sentencepiece)
  --cache DIR, --from-dir DIR
                   where downloads are kept, where archives already are: for scripts/prepare_$dataset.sh

The same command again goes on where it was interrupted. What follows -- goes to fairseq-train.
USAGE
}

# Data, training, scores. Arguments: those of the recipe.
recipe() {
    local direction="" method=lrdrop seed=1 data="" save_dir="" suffix="" prepare_flags=() extra=()
    while (($# > 0)); do
        case "$1" in
            --method) need_value "$@"; method="$2"; shift 2 ;;
            --seed) need_value "$@"; need_positive "$1" "$2"; seed="$2"; shift 2 ;;
            --data) need_value "$@"; data="$2"; shift 2 ;;
            --save-dir) need_value "$@"; save_dir="$2"; shift 2 ;;
            --sentencepiece) suffix=.sentencepiece; prepare_flags+=("$1"); shift ;;
            --cache | --from-dir) need_value "$@"; prepare_flags+=("$1" "$2"); shift 2 ;;
            -h | --help) usage; exit 0 ;;
            --) shift; extra=("$@"); break ;;
            -*) usage_error "unknown option $1 (flags for fairseq-train go after --)" ;;
            *)
                if [[ -n "$direction" ]]; then usage_error "one direction only: '$direction', then '$1'"; fi
                direction="$1"
                shift
                ;;
        esac
    done
    if [[ -z "$direction" ]]; then usage_error "no direction given"; fi
    if [[ " ${directions[*]} " != *" $direction "* ]]; then
        usage_error "DIRECTION is one of ${directions[*]}, not '$direction'"
    fi
    if [[ ! "$method" =~ ^(plain|rdrop|lrdrop)$ ]]; then
        usage_error "--method is plain, rdrop or lrdrop, not '$method'"
    fi
    data="${data:-data/$dataset.$direction$suffix}"
    save_dir="${save_dir:-checkpoints/$dataset.$direction$suffix/$method-seed$seed}"

    if [[ -f "$data/prepare.json" ]]; then
        note "data: $data is there"
    else
        "$ROOT/scripts/prepare_$dataset.sh" "$direction" --output "$data" "${prepare_flags[@]}"
    fi
    # Validation BLEU is of words, whatever the pieces are.
    if [[ -n "$suffix" && " ${train_flags[*]} " == *" --eval-bleu "* ]]; then
        train_flags+=(--eval-bleu-remove-bpe sentencepiece)
    fi
    "$ROOT/scripts/train.sh" "$data" --method "$method" --preset "$preset" --seed "$seed" --save-dir "$save_dir" \
        -- "${train_flags[@]}" "${extra[@]}"
    "$ROOT/scripts/evaluate.sh" "$data" "${evaluate_flags[@]/#SAVE_DIR/$save_dir}" -- "${generate_flags[@]}"
}
