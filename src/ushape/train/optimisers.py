"""torch's optimisers without `torch._dynamo`, which they import when they are made and at each step.

It tells `torch.compile` where to stop; nothing here is compiled, and the import takes as long as that of torch
itself: 2 s of each run of a study.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """AdamW, to the same bits."""

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


class SGD(torch.optim.SGD):
    """Gradient descent, to the same bits."""

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
