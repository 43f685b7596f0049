"""Every sequence-to-sequence model of fairseq trains with the right loss, or is refused in words.

Without dropout the two passes are one, so that the loss with the output term alone is the plain
one whatever the weight, and so is every gradient.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_REGISTRY,
    MODEL_REGISTRY,
    FairseqEncoderDecoderModel,
    FairseqMultiModel,
)
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask

from tests.toy import SIZES, assert_same, make_criterion, make_sample, make_task, run

OUTPUT_ALONE = dict(lr_drop_hidden_weight=0.0, lr_drop_attention_weight=0.0)
ONE_LAYER: dict[str, Any] = SIZES | dict(
    encoder_layers=1, decoder_layers=1, decoder_embed_dim=16, decoder_ffn_embed_dim=24,
    decoder_attention_heads=2,
)  # fmt: skip
RECURRENT = dict(encoder_hidden_size=16, decoder_hidden_size=16, decoder_out_embed_dim=16)
CONVOLUTIONS = dict(encoder_layers="[(16, 3)]", decoder_layers="[(16, 3)] * 2")
KERNELS = dict(
    weight_softmax=True, encoder_glu=True, decoder_glu=True,
    encoder_conv_type="dynamic", encoder_conv_dim=16, encoder_kernel_size_list=[3],
    decoder_conv_type="lightweight", decoder_conv_dim=16, decoder_kernel_size_list=[3],
)  # fmt: skip
SPEECH = dict(
    input_feat_per_channel=16, input_channels=1, conv_channels=8, conv_out_channels=8,
    conv_kernel_sizes="3,3", fp16=False, depthwise_conv_kernel_size=3,
)  # fmt: skip
BERARD = dict(
    input_layers="[16, 8]", conv_layers="[(8, 3, 2)]", num_blstm_layers=1, lstm_size=8,
    decoder_num_layers=1, decoder_hidden_dim=16, attention_dim=8, output_layer_dim=16,
)  # fmt: skip

# Name of the model: the options beside those above, and whether its source is speech.
TRAINED: dict[str, tuple[dict[str, Any], bool]] = {
    "transformer": ({}, False),
    "transformer_align": ({}, False),
    "multilingual_transformer": ({}, False),
    "bart": ({}, False),
    "roberta_enc_dec": ({"max_positions": 64}, False),
    "lightconv": (KERNELS, False),
    "lstm": (RECURRENT, False),
    "fconv": (CONVOLUTIONS, False),
    "fconv_self_att": (CONVOLUTIONS, False),
    "s2t_berard": ({**SPEECH, **BERARD}, True),
    "s2t_transformer": (SPEECH, True),
    "s2t_conformer": (SPEECH, True),
    "convtransformer": (SPEECH, True),
    "lr_drop_transformer": ({}, False),
    "lr_drop_bart": ({}, False),
}  # fmt: skip
# They see the target that they are to write.
REFUSED = {
    "nonautoregressive_transformer", "nacrf_transformer", "cmlm_transformer",
    "iterative_nonautoregressive_transformer", "levenshtein_transformer", "insertion_transformer",
}  # fmt: skip
_SPECTROGRAMS = "a task that synthesizes speech, whose targets are no words"
_UNITS = "fairseq's task for speech to speech and its multitask configuration"
# Not to be built here. None is built for the task translation either.
NEED_MORE = {
    "wav2vec_seq2seq": "a pretrained encoder of speech",
    "hubert_seq2seq": "a pretrained encoder of speech",
    "xm_transformer": "a pretrained encoder of speech",
    "unity_xm_transformer": "a pretrained encoder of speech",
    "transformer_from_pretrained_xlm": "a pretrained XLM; its code is transformer's",
    "tacotron_2": _SPECTROGRAMS,
    "tts_transformer": _SPECTROGRAMS,
    "s2spect_transformer": _SPECTROGRAMS,
    "s2spect_conformer": _SPECTROGRAMS,
    "s2spect2_conformer": _SPECTROGRAMS,
    "s2ut_transformer": _UNITS,
    "s2ut_conformer": _UNITS,
    "unity_conformer": _UNITS,
    "model_parallel_transformer": "megatron",
}


def build(name: str, **options: Any) -> Any:
    """The model without dropout, in training mode."""
    architectures = [
        arch for arch, cls in ARCH_MODEL_REGISTRY.items() if cls is MODEL_REGISTRY[name]
    ]
    args = Namespace(arch=architectures[0], task="translation", criterion="", **ONE_LAYER)
    vars(args).update(options)
    ARCH_CONFIG_REGISTRY[args.arch](args)
    vars(args).update({k: 0.0 for k in vars(args) if "dropout" in k and "layers" not in k})
    task: Any = make_task()
    if name == "multilingual_transformer":
        dictionary = task.source_dictionary
        languages = Namespace(lang_pairs="de-en", source_lang="de", target_lang="en")
        vars(args).update(vars(languages), lang_pairs=["de-en"])
        args.encoder_langtok = args.decoder_langtok = None
        task = MultilingualTranslationTask(args, {"de": dictionary, "en": dictionary}, True)
    torch.manual_seed(1)
    model = MODEL_REGISTRY[name].build_model(args, task).train()
    # What the task of several languages hands to the criterion.
    return model.models["de-en"] if name == "multilingual_transformer" else model


def make_batch(speech: bool) -> dict[str, Any]:
    """Sorted by the length of the source, as fairseq sorts them; some models need that."""
    sample = make_sample([(6, 4), (5, 7), (3, 1)])
    if speech:
        generator = torch.Generator().manual_seed(0)
        sample["net_input"]["src_tokens"] = torch.randn(3, 20, 16, generator=generator)
        sample["net_input"]["src_lengths"] = torch.tensor([20, 17, 12])
    return sample


def test_every_sequence_to_sequence_model_is_among_these() -> None:
    kinds = (FairseqEncoderDecoderModel, FairseqMultiModel)
    of_fairseq = {
        name
        for name, cls in MODEL_REGISTRY.items()
        if issubclass(cls, kinds) and cls.__module__.startswith(("fairseq.", "lrdrop_fairseq."))
    }
    assert of_fairseq == {*TRAINED, *REFUSED, *NEED_MORE}


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_is_the_plain_one(name: str) -> None:
    options, speech = TRAINED[name]
    model, sample = build(name, **options), make_batch(speech)
    results = []
    for criterion in (
        make_criterion("label_smoothed_cross_entropy"),
        make_criterion(**OUTPUT_ALONE, lr_drop_output_weight=1e-9),
        make_criterion(**OUTPUT_ALONE, lr_drop_output_weight=1.0),
    ):
        results.append(run(criterion, model, sample))
    plain = results[0]
    assert plain[0] > 30 and any(gradient.any() for gradient in plain[2].values())
    for result in results[1:]:
        assert_same(result, plain, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(result[1]["nll_loss"], plain[1]["nll_loss"])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_needs_other_batches_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be trained on the batches.*tgt_tokens"):
        run(make_criterion(**OUTPUT_ALONE), build(name), make_batch(speech=False))
