"""What every network must pass, whatever its modifications: give `tester` functions something that builds it.

    tester.computes(lambda in_channels, classes, seed: build(spec, in_channels, classes, seed), tmp_path)
    tester.exports(...)
    tester.learns(...)

Networks are built small by the caller. Sizes are odd on purpose; networks with valid padding say by `shrink` how
many pixels they lose, and get sizes that suit them.
"""

from __future__ import annotations

import copy
import io
import itertools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from ushape.nets.unet import Network
from ushape.nets.weights import load_weights, save_weights
from ushape.train.losses import segmentation_loss

Make = Callable[[int, int, int], Network]
"""(in_channels, classes, seed) -> a network."""


def sizes(net: nn.Module) -> list[tuple[int, int]]:
    """An odd size and one a pixel larger; for networks with valid padding two sizes that they can take."""
    if not getattr(net, "shrink", 0):
        return [(37, 53), (38, 54)]
    step, first = 2 ** (net.spec.levels - 1), int(net.shrink)
    good = [n for n in range(first + 1, first + 3 * step + 1) if _takes(net, n)]
    return [(good[0], good[1]), (good[1], good[1])]


def small(net: nn.Module) -> tuple[int, int]:
    """An odd size of few pixels, for what is slow."""
    return sizes(net)[0] if getattr(net, "shrink", 0) else (11, 18)


def unpadded(net: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """The next size that needs no padding: an even border, normalised by itself in a deep level, magnifies rounding."""
    multiple = 1 if getattr(net, "shrink", 0) else int(getattr(net, "multiple", 1))
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def _takes(net: nn.Module, size: int) -> bool:
    from ushape.errors import SpecError

    try:
        net.eval()(torch.zeros(1, net.in_channels, size, size))
    except SpecError:
        return False
    return True


def image(net: nn.Module, size: tuple[int, int], batch: int = 2, seed: int = 0) -> Tensor:
    """[batch, in_channels, *size], always the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, int(net.in_channels), *size, generator=generator)


def scores(net: nn.Module, x: Tensor) -> Tensor:
    """Scores of a network in evaluation mode."""
    with torch.no_grad():
        out = net.eval()(x)
    assert isinstance(out, Tensor), "in evaluation a network gives one tensor of scores"
    return out


def check_shape(net: nn.Module, out: Tensor, x: Tensor, classes: int) -> None:
    shrink = int(getattr(net, "shrink", 0))
    assert out.shape == (x.shape[0], classes, x.shape[2] - shrink, x.shape[3] - shrink)
    assert bool(torch.isfinite(out).all())


def computes(make: Make, folder: Path, tiny: bool = True) -> None:
    """Sizes, channels, classes, gradients, batch of one, memory layout, bfloat16, seeds, save and load."""
    net = make(3, 5, 0)
    first, second = sizes(net)
    for size in (first, second):
        check_shape(net, scores(net, image(net, size)), image(net, size), 5)
    for channels, classes in ((1, 1), (5, 2)):
        other = make(channels, classes, 0)
        check_shape(other, scores(other, image(other, first)), image(other, first), classes)

    gradients(net, image(net, first))
    stays_on_its_device(net, image(net, small(net)))
    one = image(net, first, batch=1)
    out = net.train()(one)
    check_shape(net, out[0] if isinstance(out, list) else out, one, 5)
    if tiny and not getattr(net, "shrink", 0):
        one = image(net, (3, 2), batch=1)  # one pixel at the bottom of the U
        out = net.train()(one)
        check_shape(net, out[0] if isinstance(out, list) else out, one, 5)

    same_in_channels_last(net, image(net, unpadded(net, first)))
    with torch.autocast("cpu", torch.bfloat16):  # slow where the CPU has no bfloat16: few pixels
        x = image(net, small(net))
        check_shape(net, scores(net, x[:1]), x[:1], 5)
        trained = net.train()(x)
    loss(trained, x, net).backward()  # type: ignore[no-untyped-call]
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)
    net.zero_grad(set_to_none=True)

    twin, stranger = make(3, 5, 0), make(3, 5, 1)
    fresh = make(3, 5, 0)
    for (name, a), b in zip(fresh.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b), f"{name} differs between equal seeds"
    assert any(not torch.equal(a, b) for a, b in zip(fresh.parameters(), stranger.parameters(), strict=True))

    save_weights(folder / "weights.safetensors", net, {})
    loaded = load_weights(folder / "weights.safetensors").net
    assert torch.equal(scores(loaded, image(net, first)), scores(net, image(net, first)))
    assert torch.equal(scores(copy.deepcopy(net), image(net, first)), scores(net, image(net, first)))


def gradients(net: nn.Module, x: Tensor) -> None:
    """Every parameter receives a finite gradient."""
    out = net.train()(x)
    loss(out, x, net).backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"no gradient reaches {without}"
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)
    net.zero_grad(set_to_none=True)


def stays_on_its_device(net: nn.Module, x: Tensor) -> None:
    """Scores and loss on a GPU that is pretended: a tensor made elsewhere is an error there, as on a real one."""
    with FakeTensorMode() as pretended:
        there = {
            name: pretended.from_tensor(tensor).to("cuda:0")
            for name, tensor in itertools.chain(net.named_parameters(), net.named_buffers())
        }
        light = pretended.from_tensor(x).to("cuda:0")
        made = functional_call(net.train(), there, (light,))
        assert loss(made, light, net).device == light.device


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal up to rounding: fresh weights can give scores of any scale, so differences are held against the largest."""
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


def same_in_channels_last(net: nn.Module, x: Tensor) -> None:
    plain = scores(net, x)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = scores(net, x.contiguous(memory_format=torch.channels_last))
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    assert_near(last, plain, 1e-4)


def exports(make: Make, onnx: bool = True) -> None:
    """torch.export gives the same scores; so does ONNX Runtime with what torch.onnx makes of that."""
    net = make(3, 5, 0)
    net.eval()
    x = image(net, small(net))
    expected = scores(net, x)
    program = torch.export.export(net, (x,))
    assert_near(program.module()(x), expected, 1e-5)
    if onnx:
        assert_near(_onnx_scores(program, x), expected, 1e-4)


def _onnx_scores(program: torch.export.ExportedProgram, x: Tensor) -> Tensor:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        made = torch.onnx.export(program, (x,), dynamo=True, optimize=False, verbose=False)
    assert made is not None
    file = io.BytesIO(made.model_proto.SerializeToString())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), settings)
    (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(out)


def learns(make: Make, steps: int = 8, rate: float = 5e-3) -> None:
    """A few steps on one batch lower the loss, and each weight tensor gets a gradient that is not zero.

    No more steps than it takes to lower the loss by a tenth and to reach every weight.

    A rectifier of few channels can be dead from the start: a weight counts as reached if one of three seeds does.
    """
    still: set[str] = set()
    for seed in range(3):
        net = make(3, 3, seed)
        weights = {n for n, p in net.named_parameters() if p.ndim > 1 and p.requires_grad}
        still = (weights & still if seed else weights) - _descend(net, weights, steps, rate)
        if not still:
            return
    raise AssertionError(f"gradients of {sorted(still)} are zero in every step")


def _descend(net: Network, weights: set[str], steps: int, rate: float) -> set[str]:
    """Train on one batch; the names of the weights that ever had a gradient other than zero."""
    x = image(net, sizes(net)[0])
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate)
    losses, moved = [], set()
    for _ in range(steps):
        now = loss(net(x), x, net)
        now.backward()  # type: ignore[no-untyped-call]
        losses.append(float(now.detach()))
        reached = {n: p.grad for n, p in net.named_parameters() if n in weights - moved and p.grad is not None}
        moved |= {n for n, gradient in reached.items() if bool((gradient != 0).any())}
        if losses[-1] < 0.9 * losses[0] and moved == weights:
            break
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    assert losses[-1] < losses[0], f"loss went from {losses[0]:.4f} to {losses[-1]:.4f}"
    return moved


def loss(out: Tensor | list[Tensor], x: Tensor, net: nn.Module) -> Tensor:
    """Segmentation loss for labels that can be seen in the image: its first channel, cut at two heights."""
    cut = int(getattr(net, "shrink", 0)) // 2
    seen = x[:, 0, cut : x.shape[2] - cut, cut : x.shape[3] - cut]
    labels = ((seen > -0.4).long() + (seen > 0.4).long()).clamp(max=int(net.classes) - 1)
    return segmentation_loss(out, labels, dice=0.5)
