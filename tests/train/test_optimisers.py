"""The optimisers do what torch's own do, to the bit, and import nothing that only compiling needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ushape.train import optimisers

PAIRS: list[tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = [
    (optimisers.AdamW, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1, "fused": True}),
    (optimisers.SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}),
]


def descended(make: Callable[..., Any], settings: dict[str, Any]) -> torch.Tensor:
    weights = torch.linspace(-1, 1, 7).requires_grad_()
    optimiser = make([{"params": [weights]}], **settings)
    for _ in range(3):
        (weights**4).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        assert weights.grad is None
    return weights.detach()


@pytest.mark.parametrize(("ours", "theirs", "settings"), PAIRS, ids=["adamw", "sgd"])
def test_they_descend_as_those_of_torch_do(
    ours: Callable[..., Any], theirs: Callable[..., Any], settings: dict[str, Any]
) -> None:
    assert torch.equal(descended(ours, settings), descended(theirs, settings))
    assert torch.equal(descended(ours, settings), descended(theirs, settings))  # torch changes its own at first use


def test_training_does_not_import_what_compiles() -> None:
    code = """
import sys, torch
from ushape.train.optimisers import SGD, AdamW
for make in (SGD, AdamW):
    weight = torch.ones(1, requires_grad=True)
    optimiser = make([weight], lr=0.1)
    weight.sum().backward()
    optimiser.step()
    optimiser.zero_grad()
print("torch._dynamo" in sys.modules)
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "False\n"
