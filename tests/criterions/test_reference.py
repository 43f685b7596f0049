"""The whole objective against an obvious implementation on fairseq's untouched models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lrdrop_fairseq import attention
from lrdrop_fairseq.siamese import duplicate
from tests.toy import (
    assert_same,
    draw_dropout_as_fairseq,
    gradients,
    make_criterion,
    make_model,
    make_sample,
    run,
)

ALPHA, BETA, GAMMA, EPSILON, PAD = 0.6, 40.0, 1.7, 0.1, 1


def reference(model: Any, sample: Any, seed: int = 3) -> Any:
    """LR-Drop word for word, one sentence and one token after the other."""
    attention_inputs: list[tuple[Any, str, torch.Tensor, torch.Tensor]] = []
    encoder_states: list[torch.Tensor] = []

    def watch(kind: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            attention_inputs.append((module, kind, kwargs["query"], kwargs["key"]))

        return hook

    for name, module in model.named_modules():
        if name.endswith("_attn"):
            kind = "cross" if name.endswith("encoder_attn") else name.split(".")[0]
            module.register_forward_pre_hook(watch(kind), with_kwargs=True)
    model.encoder.register_forward_hook(
        lambda module, args, output: encoder_states.extend(output["encoder_states"][1:])
    )
    model.zero_grad()
    torch.manual_seed(seed)
    logits, extra = model(**duplicate(sample)["net_input"])

    n = sample["target"].size(0)
    source = sample["net_input"]["src_tokens"].ne(PAD)
    target = sample["net_input"]["prev_output_tokens"].ne(PAD)
    loss = logits.new_zeros(())
    states = [(h, source) for h in encoder_states]
    states += [(h, target) for h in extra["inner_states"][1:]]
    for h, mask in states:
        for b, t in mask.nonzero():
            loss = loss + ALPHA * (h[t, b] - h[t, b + n]).square().mean() / len(states)
    for module, kind, query, key in attention_inputs:
        queries, keys = (target, source) if kind == "cross" else (
            (source, source) if kind == "encoder" else (target, target)
        )  # fmt: skip
        q = module.q_proj(query).unflatten(-1, (module.num_heads, -1))
        k = module.k_proj(key).unflatten(-1, (module.num_heads, -1))
        for b, t in queries.nonzero():
            seen = keys[b].nonzero().squeeze(-1)
            seen = seen[seen <= t] if kind == "decoder" else seen
            maps = [
                torch.einsum("hd,shd->hs", q[t, row], k[seen, row]).mul(module.scaling).softmax(-1)
                for row in (b, b + n)
            ]
            squared = (maps[0] - maps[1]).square().mean(dim=-1).mean(dim=0)
            loss = loss + BETA * squared / len(attention_inputs)
    for b, t in target.nonzero():
        p, q = logits[b, t].log_softmax(-1), logits[b + n, t].log_softmax(-1)
        for log_probs in (p, q):
            loss = loss + 0.5 * F.cross_entropy(log_probs, sample["target"][b, t]) * (
                1 - EPSILON - EPSILON / (len(p) - 1)
            )
            loss = loss - 0.5 * log_probs.sum() * EPSILON / (len(p) - 1)
        kl = F.kl_div(q, p, reduction="sum", log_target=True)
        kl = kl + F.kl_div(p, q, reduction="sum", log_target=True)
        loss = loss + GAMMA * kl / 2
    loss.backward()
    return loss.detach(), None, gradients(model)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(encoder_normalize_before=True, decoder_normalize_before=True),
        dict(share_all_embeddings=True, activation_dropout=0.1),
        dict(encoder_layerdrop=0.4, decoder_layerdrop=0.4),
        dict(decoder_output_dim=8, share_decoder_input_output_embed=False),
        dict(arch="lr_drop_bart_large"),
    ],
    ids=["post-norm", "pre-norm", "shared", "layerdrop", "project_out", "BART"],
)
@pytest.mark.parametrize("left_pad", [False, True])
@pytest.mark.parametrize("largest_map", [1 << 17, 40, 0])
def test_equals_the_reference(
    options: dict[str, Any], left_pad: bool, largest_map: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lengths 1 included; attention maps recorded, for some modules, for none.

    fairseq rounds its cross attention to float32, hence the tolerance.
    """
    monkeypatch.setattr(attention, "LARGEST_MAP", largest_map)
    draw_dropout_as_fairseq(monkeypatch)
    sample = make_sample([(5, 4), (3, 7), (1, 1)], left_pad=left_pad)
    model = make_model(dropout=0.3, **options).double()
    arch = options.get("arch", "lr_drop_transformer").removeprefix("lr_drop_")
    stock = make_model(**{"dropout": 0.3, **options, "arch": arch}).double()
    criterion = make_criterion(
        lr_drop_hidden_weight=ALPHA, lr_drop_attention_weight=BETA, lr_drop_output_weight=GAMMA
    )
    assert_same(run(criterion, model, sample), reference(stock, sample), rtol=1e-5, atol=1e-5)
