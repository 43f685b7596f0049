"""Products in float32: values, gradients, what is kept, and torch's settings around them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lrdrop_fairseq.losses.float_product import float_product, in_half_precision, tensor_cores

MATMUL = torch.backends.cuda.matmul


def make_inputs(left: torch.dtype, right: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 7, 5), (2, 3, 5, 4))
    a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return a.to(left).requires_grad_(), b.to(right).requires_grad_()


def with_gradients(product: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 2, product.numel(), dtype=torch.float64).view_as(product)
    return [product, *torch.autograd.grad((product * weights).sum(), inputs)]


@pytest.mark.parametrize("right", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("left", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_and_gradients(left: torch.dtype, right: torch.dtype) -> None:
    """Of what the dtypes hold, in float64; the gradients come in the inputs' own dtypes."""
    inputs = make_inputs(left, right)
    exact = tuple(x.detach().double().requires_grad_() for x in inputs)
    actual = with_gradients(float_product(*inputs, 0.3), inputs)
    expected = with_gradients(0.3 * exact[0] @ exact[1], exact)
    wide = torch.float64 if left == torch.float64 else torch.float32
    assert [x.dtype for x in actual] == [wide, left, right]
    for ours, truth in zip(actual, expected, strict=True):
        rounding = max(torch.finfo(ours.dtype).eps, torch.finfo(wide).eps)
        torch.testing.assert_close(ours.double(), truth, rtol=4 * rounding, atol=8 * rounding)


def test_the_inputs_alone_are_kept() -> None:
    inputs = make_inputs(torch.bfloat16, torch.bfloat16)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        float_product(*inputs)
    assert [x.data_ptr() for x in kept] == [x.data_ptr() for x in inputs]


def test_half_precision_is_seen() -> None:
    single, half = torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16)
    assert not in_half_precision(single, single)
    assert in_half_precision(single, half)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert in_half_precision(single, single)


def test_the_backward_knows_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs outside, and multiplies as the forward did."""
    asked: list[bool] = []
    allowed = tensor_cores

    def watched(half: bool) -> object:
        asked.append(half)
        return allowed(half)

    monkeypatch.setattr("lrdrop_fairseq.losses.float_product.tensor_cores", watched)
    inputs = make_inputs(torch.float32, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = float_product(*inputs)
    with_gradients(product, inputs)
    with_gradients(float_product(*inputs), inputs)
    assert asked == [True, True, False, False]


# How a user may have set torch up, before; and whether that is TF32 already.
SETTINGS = {
    "": False,
    "matmul.allow_tf32 = True": True,
    "matmul.allow_tf32 = False": False,
    "torch.set_float32_matmul_precision('medium')": True,
    "torch.set_float32_matmul_precision('highest')": False,
    "matmul.fp32_precision = 'tf32'": True,
    "matmul.fp32_precision = 'ieee'": False,
    "torch.backends.fp32_precision = 'tf32'": True,
}
AROUND = """
import torch
from lrdrop_fairseq.losses.float_product import tensor_cores
matmul = torch.backends.cuda.matmul
{setting}
def state():
    found = []
    for read in (
        lambda: matmul.fp32_precision, lambda: matmul.allow_tf32, torch.get_float32_matmul_precision
    ):
        try:
            found.append(str(read()))
        except (RuntimeError, AttributeError) as error:
            found.append(type(error).__name__)
    return found
before = state()
with tensor_cores(False):
    assert state() == before
try:
    with tensor_cores(True):
        inside = state()
        raise KeyError
except KeyError:
    pass
assert state() == before, (before, state())
print(inside)
if {already}:
    assert inside == before, (before, inside)
else:
    assert inside[1:] == ["True", "high"] and inside[0] in ("tf32", "AttributeError"), inside
"""


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_as_before_afterwards(setting: str) -> None:
    """In a process of its own: some of them cannot be undone."""
    if "fp32_precision" in setting and not hasattr(MATMUL, "fp32_precision"):
        pytest.skip("this torch has the older setting alone")
    script = AROUND.format(setting=setting, already=SETTINGS[setting])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype: torch.dtype) -> None:
    """What half precision holds is multiplied exactly; a float32 model is not rounded to TF32."""
    inputs = [x.detach().cuda() for x in make_inputs(dtype, dtype)]
    exact = inputs[0].double() @ inputs[1].double()
    torch.testing.assert_close(float_product(*inputs).double(), exact, rtol=1e-6, atol=1e-6)
    single = [x.detach().cuda() for x in make_inputs(torch.float32, torch.float32)]
    exact = single[0].double() @ single[1].double()
    torch.testing.assert_close(float_product(*single).double(), exact, rtol=1e-6, atol=1e-6)
    assert not MATMUL.allow_tf32
