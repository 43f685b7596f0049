"""The exposing Transformer and BART are fairseq's, and what they expose is right."""

from __future__ import annotations

import copy
from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.bart import BARTModel
from fairseq.models.transformer import TransformerModel
from fairseq.modules import FairseqDropout
from fairseq.sequence_generator import SequenceGenerator

from lrdrop_fairseq import attention
from lrdrop_fairseq.attention import ExposedAttention
from lrdrop_fairseq.dropout import LeanDropout
from lrdrop_fairseq.layer_states import AttentionMap
from lrdrop_fairseq.layer_terms import attention_distance
from lrdrop_fairseq.losses.attention import attention_probabilities
from lrdrop_fairseq.models.bart import LRDropBART
from lrdrop_fairseq.models.exposed import record_layer_states
from lrdrop_fairseq.models.transformer import LRDropTransformer
from lrdrop_fairseq.siamese import duplicate
from tests.toy import (
    draw_dropout_as_fairseq,
    gradients,
    make_criterion,
    make_model,
    make_sample,
    make_task,
    run,
)

VARIANTS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": dict(encoder_normalize_before=True, decoder_normalize_before=True),
    "shared embeddings": dict(share_all_embeddings=True),
    "learned positions": dict(encoder_learned_pos=True, decoder_learned_pos=True),
    "cross+self attention": dict(cross_self_attention=True, no_cross_attention=True),
    "BART": dict(arch="lr_drop_bart_large", task="translation"),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[True, False], ids=["maps recorded", "queries and keys recorded"])
def maps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both things that an attention module can expose."""
    if not request.param:
        monkeypatch.setattr(attention, "LARGEST_MAP", 0)
    return request.param


def itself(state: Any) -> Any:
    return state


def make_stock_model(arch: str = "lr_drop_transformer", **options: Any) -> Any:
    return make_model(arch.removeprefix("lr_drop_"), **options)


def pair(**options: Any) -> tuple[Any, Any]:
    """Our and fairseq's model with the same parameters."""
    ours, theirs = make_model(**options), make_stock_model(seed=2, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def test_state_dicts_travel_both_ways(variant: Any) -> None:
    ours, theirs = make_model(**variant), make_stock_model(seed=2, **variant)
    classes = (
        (LRDropBART, BARTModel) if "arch" in variant else (LRDropTransformer, TransformerModel)
    )
    assert (type(ours), type(theirs)) == classes
    names = [name for name, _ in ours.named_parameters()]
    assert names == [name for name, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)


def test_same_seed_same_initialization(variant: Any) -> None:
    ours, theirs = make_model(**variant), make_stock_model(**variant)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("left_pad", [False, True])
def test_unexposed_forward_is_fairseqs_to_the_last_bit(
    variant: Any, training: bool, left_pad: bool
) -> None:
    models = pair(dropout=0.2, attention_dropout=0.1, **variant)
    outputs = []
    for model in models:
        torch.manual_seed(0)
        outputs.append(model.train(training)(**make_sample(left_pad=left_pad)["net_input"])[0])
    assert torch.equal(*outputs)


def test_beam_search_is_token_identical(variant: Any) -> None:
    """Incremental decoding with reordered states, on random and so hard to separate scores."""
    task, sample = make_task(), make_sample()
    hypotheses = []
    for model in pair(dropout=0.2, **variant):
        generator = SequenceGenerator([model.eval()], task.target_dictionary, beam_size=4)
        hypotheses.append(generator.generate([model], sample))
    for mine, expected in zip(*hypotheses):
        for a, b in zip(mine, expected):
            assert torch.equal(a["tokens"], b["tokens"]) and torch.equal(a["score"], b["score"])


@pytest.mark.parametrize("left_pad", [False, True])
def test_exposing_forward_computes_the_same(
    variant: Any, left_pad: bool, maps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exposing attention against fairseq's: output and gradients, with dropout around it.

    In double precision; fairseq rounds its cross attention to float32, hence the tolerance.
    """
    draw_dropout_as_fairseq(monkeypatch)
    sample = make_sample([(5, 4), (3, 7), (1, 1)], left_pad=left_pad)
    results = []
    for model, options in zip(pair(dropout=0.2, **variant), ({"expose_attention": itself}, {})):
        torch.manual_seed(0)
        output = model.double()(**sample["net_input"], **options)[0]
        # Left-padded targets: queries at padding see no key at all and are nobody's business.
        output = output[sample["target"].ne(1)]
        output.square().sum().backward()
        results.append((output.detach(), gradients(model)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_hidden_states_are_the_layers_outputs(variant: Any) -> None:
    model = make_model(dropout=0.1, **variant)
    _, extra = model(**make_sample()["net_input"], expose_hidden=itself)
    states = extra["layer_states"]
    assert [tuple(s.shape) for s in states.encoder_hidden] == [(6, 3, 16)] * 2
    assert [tuple(s.shape) for s in states.decoder_hidden] == [(7, 3, 16)] * 3
    # fairseq's own list starts with the embedding, which is no layer.
    for mine, theirs in zip(states.decoder_hidden, extra["inner_states"][1:]):
        assert mine is theirs
    assert not states.encoder_self_attention and not states.cross_attention


def test_attention_maps_are_fairseqs(maps: bool) -> None:
    """Averaged over heads (all fairseq offers for self-attention) and, for cross, per head."""
    model, stock = pair(dropout=0.0)
    sample = make_sample()["net_input"]
    expected: dict[str, torch.Tensor] = {}

    def ask_for_weights(name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            per_head = module.encoder_decoder_attention
            return args, {**kwargs, "need_weights": True, "need_head_weights": per_head}

        def keep(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            expected[name] = output[1]

        return hook, keep

    for name, module in stock.named_modules():
        if name.endswith("_attn"):
            before, after = ask_for_weights(name)
            module.register_forward_pre_hook(before, with_kwargs=True)
            module.register_forward_hook(after, with_kwargs=True)
    stock(**sample)
    states = model(**sample, expose_attention=itself)[1]["layer_states"]
    recorded = {
        "encoder.layers.{}.self_attn": states.encoder_self_attention,
        "decoder.layers.{}.self_attn": states.decoder_self_attention,
        "decoder.layers.{}.encoder_attn": states.cross_attention,
    }
    assert sum(map(len, recorded.values())) == len(expected) == 2 + 3 + 3
    for name, modules in recorded.items():
        for i, exposed in enumerate(modules):
            assert isinstance(exposed, AttentionMap) == maps
            probabilities = (
                exposed.probabilities
                if maps
                else attention_probabilities(
                    exposed.query, exposed.key, exposed.scale, exposed.mask
                )
            )
            theirs = expected[name.format(i)]
            # H x B x T x S for cross attention, B x T x S for self-attention
            mine = probabilities.transpose(0, 1) if theirs.dim() == 4 else probabilities.mean(dim=1)
            torch.testing.assert_close(mine, theirs)


def test_nothing_listens_after_the_forward() -> None:
    model = make_model(dropout=0.1)
    hooks = [len(m._forward_hooks) for m in model.modules()]
    with pytest.raises(RuntimeError), record_layer_states(model, itself, itself):
        raise RuntimeError("in the middle of a step")
    _, extra = model(**make_sample()["net_input"])
    assert "layer_states" not in extra
    attentions = [m for m in model.modules() if isinstance(m, ExposedAttention)]
    assert len(attentions) == 8 and all(m.listener is None for m in attentions)
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    dropouts = [m for m in model.modules() if isinstance(m, FairseqDropout)]
    assert len(dropouts) > 8
    assert all(type(m) is LeanDropout and not m.lean for m in dropouts)


def test_layerdrop_drops_the_same_layers_whether_exposed_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw_dropout_as_fairseq(monkeypatch)
    model = make_model(dropout=0.2, encoder_layerdrop=0.5, decoder_layerdrop=0.5)
    counts = set()
    for seed in range(8):
        torch.manual_seed(seed)
        expected, extra = model(**make_sample()["net_input"])
        torch.manual_seed(seed)
        actual, exposed = model(
            **make_sample()["net_input"], expose_hidden=itself, expose_attention=itself
        )
        torch.testing.assert_close(actual, expected)
        states = exposed["layer_states"]
        assert len(states.decoder_hidden) == len(extra["inner_states"]) - 1
        assert len(states.decoder_hidden) == len(states.cross_attention)
        assert len(states.encoder_hidden) == len(states.encoder_self_attention)
        counts.add((len(states.encoder_hidden), len(states.decoder_hidden)))
    assert len(counts) > 3


def test_training_goes_on_when_layerdrop_drops_every_layer() -> None:
    model = make_model(dropout=0.2, encoder_layerdrop=1.0, decoder_layerdrop=1.0)
    loss, log, _ = run(make_criterion(), model, make_sample())
    assert loss.isfinite() and log["hidden_loss"] == log["attention_loss"] == 0


def test_checkpointed_activations_change_nothing(maps: bool) -> None:
    """Same seed, dropout everywhere: all terms and gradients, in double precision."""
    # With attention dropout a CPU always forms the maps.
    options = dict(dropout=0.2, attention_dropout=0.1 if maps else 0.0, activation_dropout=0.1)
    results = [
        run(
            make_criterion(),
            make_model(checkpoint_activations=on, **options).double(),
            make_sample(),
        )
        for on in (False, True)
    ]
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-14)
    plain = make_criterion("label_smoothed_cross_entropy")
    stock = [
        run(plain, make_model(checkpoint_activations=on, **options), make_sample())
        for on in (False, True)
    ]
    torch.testing.assert_close(stock[1], stock[0], rtol=0.0, atol=0.0)


def test_checkpointed_layers_keep_neither_maps_nor_queries_and_keys(maps: bool) -> None:
    """Of the attention term autograd keeps, between forward and backward, next to nothing."""
    model = make_model(checkpoint_activations=True)
    sample = duplicate(make_sample())["net_input"]

    def kept(**expose: Any) -> int:
        storages = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(**sample, **expose)
        return sum(tensor.numel() for tensor in storages.values())

    assert kept(expose_attention=attention_distance) <= kept(expose_hidden=itself)


def test_a_copy_of_a_checkpointed_model_trains() -> None:
    model = make_model(checkpoint_activations=True, dropout=0.2)
    expected = run(make_criterion(), model, make_sample())
    actual = run(make_criterion(), copy.deepcopy(model), make_sample())
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0)


def test_offloaded_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="--offload-activations"):
        make_model(offload_activations=True)


def test_quantization_noise_changes_the_weights_that_it_changes_without_terms() -> None:
    """fairseq's self-attention takes the weights past the modules, whose hooks add the noise."""

    def noised(criterion: Any) -> set[str]:
        model = make_model(quant_noise_pq=0.5, quant_noise_pq_block_size=2)
        before = {name: value.clone() for name, value in model.named_parameters()}
        run(criterion, model, make_sample())
        return {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}

    plain = noised(make_criterion("label_smoothed_cross_entropy"))
    assert "decoder.layers.0.encoder_attn.q_proj.weight" in plain
    assert noised(make_criterion()) == plain


def test_an_attention_that_cannot_be_exposed_is_refused() -> None:
    from fairseq.modules import MultiheadAttention

    with pytest.raises(ValueError, match="bias_k/bias_v"):
        ExposedAttention.adopt(MultiheadAttention(4, 2, add_bias_kv=True))
    own = type("OwnAttention", (MultiheadAttention,), {})(4, 2)
    with pytest.raises(ValueError, match="an attention of its own"):
        ExposedAttention.adopt(own)


@pytest.mark.parametrize("masked", ["bool", "byte padding", "finite"])
def test_a_mask_of_ones_own_architecture_is_applied_as_fairseq_does(masked: str) -> None:
    """A binary one is True, or 1, at keys that may not be seen."""
    from fairseq.modules import MultiheadAttention

    torch.manual_seed(1)
    exposed = MultiheadAttention(8, 2, dropout=0.0)
    x, causal = torch.randn(5, 3, 8), torch.ones(5, 5).triu(1).bool()  # T x B x C, T x S
    mask = causal if masked == "bool" else torch.zeros(5, 5).masked_fill(causal, -1e8)
    padding = torch.zeros(3, 5).byte() if masked == "byte padding" else None
    expected, _ = exposed(x, x, x, key_padding_mask=padding, attn_mask=mask)
    ExposedAttention.adopt(exposed)
    heard: list[Any] = []
    with attention.listening(exposed, lambda one: one, heard):
        actual, _ = exposed(x, x, x, key_padding_mask=padding, attn_mask=mask)
    torch.testing.assert_close(actual, expected)
    assert heard[0].probabilities[:, :, causal].eq(0).all()


def test_a_mask_for_each_head_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"shape \(6, 5, 5\).*--lr-drop-attention-weight 0"):
        attention.merge_masks(torch.zeros(6, 5, 5), None, torch.float32)


@pytest.mark.parametrize(
    "arch, width, ffn, heads, layers",
    [
        ("lr_drop_transformer", 512, 2048, 8, 6),
        ("lr_drop_transformer_iwslt_de_en", 512, 1024, 4, 6),
        ("lr_drop_transformer_wmt_en_de", 512, 2048, 8, 6),
        ("lr_drop_transformer_vaswani_wmt_en_de_big", 1024, 4096, 16, 6),
        ("lr_drop_transformer_multi30k", 128, 256, 4, 4),
        ("lr_drop_bart", 1024, 4096, 16, 12),
        ("lr_drop_bart_base", 768, 3072, 12, 6),
        ("lr_drop_bart_large", 1024, 4096, 16, 12),
        ("lr_drop_mbart_large", 1024, 4096, 16, 12),
    ],
)
def test_architectures(arch: str, width: int, ffn: int, heads: int, layers: int) -> None:
    args = Namespace(arch=arch)
    ARCH_CONFIG_REGISTRY[arch](args)
    assert ARCH_MODEL_REGISTRY[arch] is (LRDropBART if "bart" in arch else LRDropTransformer)
    for stack in ("encoder", "decoder"):
        names = ("embed_dim", "ffn_embed_dim", "attention_heads", "layers")
        sizes = [getattr(args, f"{stack}_{name}") for name in names]
        assert sizes == [width, ffn, heads, layers]
