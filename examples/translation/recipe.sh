# shellcheck shell=bash
# What the recipes of this folder share: from the public data to the score. Sourced, never run. A recipe sets
#   dataset         iwslt14, iwslt17 or wmt14: scripts/prepare_DATASET.sh makes its data
#   directions      the directions SOURCE-TARGET that it trains
#   preset          of scripts/train.sh
#   train_flags     what fairseq-train gets beside the preset
#   checkpoint      best-bleu: the one with the best BLEU on the validation set
#                   average-N: the average of the last N epochs
#   beam, lenpen    beam size and length penalty
#   compound_split  yes or no: tokenized BLEU with split compounds too
# and then calls `recipe "$@"`.
# shellcheck disable=SC2154
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/common.sh"

usage() {
    local either="${directions[*]}"
    cat <<USAGE
Usage: examples/translation/$(basename -- "$0") DIRECTION [--method lrdrop] [--seed 1] [--data DIR] [--save-dir DIR]
           [--sentencepiece] [--cache DIR] [--from-dir DIR] [-- fairseq-train flags]

  DIRECTION        ${either// / or }
  --method METHOD  plain, rdrop or lrdrop (default)
  --seed N         random seed (default 1)
  --data DIR       the data; scripts/prepare_$dataset.sh makes it if it does not exist
                   (default data/$dataset.DIRECTION)
  --save-dir DIR   checkpoints, log and scores (default checkpoints/$dataset.DIRECTION/METHOD-seedN)
  --sentencepiece  cased text through sentencepiece, for sacreBLEU, instead of tokens and BPE
                   (".sentencepiece" is added to $dataset.DIRECTION in the defaults)
  --cache DIR, --from-dir DIR
                   where downloads are kept, where the archives already are: for scripts/prepare_$dataset.sh

Data, training, then the scores of the test set. The same command again goes on where it was interrupted.
What follows -- goes to fairseq-train and overrules the flags of the recipe.
USAGE
}

# Sets validation_flags: BLEU after every epoch, by beam search as R-Drop's published code does it; the best
# checkpoint is the one where it is highest. Arguments: target language, subwords ("tokens" or "sentencepiece").
validate_by_bleu() {
    local join_bpe="@@ " detokenizer=moses more=()
    if [[ "$2" == sentencepiece ]]; then join_bpe=sentencepiece detokenizer=space; fi
    if [[ "$1" == zh ]]; then
        # fairseq scores text as 13a does, for which a Chinese sentence is one word: score the tokens, or pieces.
        detokenizer=space more=(--eval-tokenized-bleu)
        if [[ "$2" == sentencepiece ]]; then join_bpe=none; fi
    fi
    validation_flags=(
        --eval-bleu --eval-bleu-args '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}'
        --eval-bleu-remove-bpe "$join_bpe" --eval-bleu-detok "$detokenizer" "${more[@]}"
        --best-checkpoint-metric bleu --maximize-best-checkpoint-metric
    )
}

# check_data DATA DIRECTION SUBWORDS: die where DATA was made for another direction, or has other subwords.
check_data() {
    local found
    found="$(python -c 'import json, sys
made = json.load(open(sys.argv[1], encoding="utf-8"))
subwords = "tokens" if made["pretokenized"] else "sentencepiece"
print(made["source_lang"] + "-" + made["target_lang"], subwords)' "$1/prepare.json")" || die "$1/prepare.json cannot be read"
    [[ "$found" == "$2 $3" ]] ||
        die "$1 was prepared for ${found/ / with }, not for $2 with $3: give another --data, or none"
}

recipe() {
    local direction="" method=lrdrop seed=1 data="" save_dir="" subwords=tokens prepare_flags=() extra=()
    while (($# > 0)); do
        case "$1" in
            --method) need_value "$@"; method="$2"; shift 2 ;;
            --seed) need_value "$@"; need_positive "$1" "$2"; seed="$2"; shift 2 ;;
            --data) need_value "$@"; data="$2"; shift 2 ;;
            --save-dir) need_value "$@"; save_dir="$2"; shift 2 ;;
            --sentencepiece) subwords=sentencepiece; prepare_flags+=("$1"); shift ;;
            --cache | --from-dir) need_value "$@"; prepare_flags+=("$1" "$2"); shift 2 ;;
            --) shift; extra=("$@"); break ;;
            *) take_argument direction "direction" fairseq-train "$1"; shift ;;
        esac
    done
    if [[ -z "$direction" ]]; then usage_error "no direction given"; fi
    if [[ " ${directions[*]} " != *" $direction "* ]]; then
        usage_error "this recipe has the direction(s) ${directions[*]}, not '$direction'"
    fi
    if [[ ! "$method" =~ ^(plain|rdrop|lrdrop)$ ]]; then
        usage_error "--method is plain, rdrop or lrdrop, not '$method'"
    fi
    local name="$dataset.$direction"
    if [[ "$subwords" == sentencepiece ]]; then name+=.sentencepiece compound_split=no; fi
    data="${data:-data/$name}" save_dir="${save_dir:-checkpoints/$name/$method-seed$seed}"

    stop_with_child  # a signal sent to the recipe reaches what it runs

    # Data: prepare.json is there when all of it is.
    if [[ -f "$data/prepare.json" ]]; then
        check_data "$data" "$direction" "$subwords"
        note "data: $data exists"
    else
        stoppable "$ROOT/scripts/prepare_$dataset.sh" "$direction" --output "$data" "${prepare_flags[@]}"
    fi

    # Training, and which checkpoint counts.
    local validation_flags=() evaluate_flags=(--beam "$beam")
    case "$checkpoint" in
        best-bleu)
            validate_by_bleu "${direction#*-}" "$subwords"
            evaluate_flags+=(--checkpoint "$save_dir/checkpoint_best.pt")
            ;;
        average-*) evaluate_flags+=(--save-dir "$save_dir" --average "${checkpoint#average-}") ;;
    esac
    stoppable "$ROOT/scripts/train.sh" "$data" --method "$method" --preset "$preset" --seed "$seed" --save-dir "$save_dir" \
        -- "${validation_flags[@]}" "${train_flags[@]}" "${extra[@]}"

    # Scores.
    if [[ "$compound_split" == yes ]]; then evaluate_flags+=(--compound-split); fi
    stoppable "$ROOT/scripts/evaluate.sh" "$data" "${evaluate_flags[@]}" -- --lenpen "$lenpen"
}
