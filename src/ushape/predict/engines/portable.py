"""From pixels to classes in one module, as every engine computes it: stain, network, softmax, the likeliest class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ushape.data.stain import BLACK, REFERENCE, TISSUE_DENSITY, stain_matrix, to_density
from ushape.nets.unet import Network
from ushape.nets.weights import as_input


class Density(nn.Module):
    """RGB uint8 [N, H, W, 3] -> optical density float32 of the same shape, as `ushape.data.stain.to_density`."""

    levels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.from_numpy(to_density(np.arange(256, dtype=np.uint8))))  # [256]

    def forward(self, image: Tensor) -> Tensor:
        # a table: faster than logarithms, and exact
        return self.levels.index_select(0, image.int().flatten()).view(image.shape)


class Stain(nn.Module):
    """An image's stain changed by a matrix in optical density, as `ushape.data.stain.normalise` does it.

    forward: RGB uint8 [N, H, W, 3], float32 [3, 3] -> uint8 [N, H, W, 3], rounded to whole levels, as training's
    pixels are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.density = Density()

    def forward(self, image: Tensor, matrix: Tensor) -> Tensor:
        density = self.density(image) @ matrix  # [N, H, W, 3]
        light = torch.exp(density * float(np.float32(-np.log(10.0)))) * 256.0 - 1.0
        return (light + 0.5).clamp(0, 255).to(torch.uint8)


class Strength(nn.Module):
    """What brings an image's stain to a common strength: `ushape.data.stain.strength_matrix` for graphs.

    forward: RGB uint8 [1, H, W, 3] -> float32 [3, 3], the identity for an image without tissue.
    """

    stains: Tensor
    back: Tensor
    reference: Tensor

    def __init__(self) -> None:
        super().__init__()
        stains = torch.from_numpy(stain_matrix())
        self.density = Density()
        self.register_buffer("stains", stains)  # [3, 3]
        self.register_buffer("back", torch.linalg.inv(stains.double()).float())  # [3, 3]
        self.register_buffer("reference", torch.tensor(REFERENCE))  # [2]

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = (torch.arange(length, device=image.device) for length in image.shape[1:3])
        area = (rows[-1] + 1) * (columns[-1] + 1)
        step = (area.float() / 1e6).sqrt().floor().clamp(min=1).long()  # `sampling_step`
        density = self.density(image)[0]  # [H, W, 3]
        sampled = ((rows % step) == 0)[:, None] & ((columns % step) == 0)[None]
        tissue = ((density.sum(2) > TISSUE_DENSITY) & (density.amin(2) < BLACK) & sampled).flatten()  # [H * W]
        count = tissue.long().sum()
        last = (count - 1).clamp(min=0)
        place, part = 99 * last // 100, (99 * last % 100).float() / 100  # of the 99th percentile
        found = []
        for stain in range(2):  # haematoxylin, eosin
            amount = (density * self.back[:, stain]).sum(2).flatten()
            amount = torch.where(tissue, amount, torch.full_like(amount, 1e6)).sort().values  # tissue comes first
            low, high = (amount.index_select(0, at.reshape(1)) for at in (place, torch.minimum(place + 1, last)))
            found.append(low + (high - low) * part)
        both = self.reference / torch.cat(found).clamp(min=0.05)
        scale = torch.cat([both, both.prod().sqrt().reshape(1)])
        matrix = self.back @ (scale[:, None] * self.stains)
        return torch.where(count < 100, torch.eye(3, device=image.device), matrix)


class Classes(nn.Module):
    """A network between the constants of its input and the softmax.

    forward: RGB uint8 [N, H, W, 3] -> probabilities float32 [N, classes, H, W], labels uint8 [N, H, W].
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def scores(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> scores [N, classes, H, W] in the network's own precision."""
        x = as_input(image.float() / 255)  # [N, 3, H, W]
        made: Tensor = self.net(x.to(next(self.net.parameters()).dtype))
        return made

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scores(image).float()
        return scores.softmax(1), scores.argmax(1).to(torch.uint8)


class Portable(nn.Module):
    """`Stain`, then `Classes`.

    forward: RGB uint8 [N, H, W, 3], matrix float32 [3, 3] -> probabilities float32 [N, classes, H, W], labels uint8
    [N, H, W].
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.stain, self.classes = Stain(), Classes(net)

    def forward(self, image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        made: tuple[Tensor, Tensor] = self.classes(self.stain(image, matrix))
        return made


class Whole(nn.Module):
    """All that a trained network is, from the pixels of an image of any size: what files for elsewhere hold.

    stain: `image`: its strength is measured on the image itself, as for training; `given`: it is an input; `none`.
    forward: RGB uint8 [1, H, W, 3], with H and W above the network's `multiple`, and, where it is given, the matrix
    float32 [3, 3] -> probabilities float32 [1, classes, H, W], labels uint8 [1, H, W], and the matrix where measured.
    """

    def __init__(self, net: Network, stain: str) -> None:
        super().__init__()
        self.portable, self.strength, self.stain = Portable(net), Strength(), stain
        self.multiple = net.multiple

    def forward(self, image: Tensor, matrix: Tensor | None = None) -> tuple[Tensor, ...]:
        if self.stain == "image":
            matrix = self.strength(image)
        stained = image if matrix is None else self.portable.stain(image, matrix)
        # taking rows and columns by number, unlike padding and slicing, needs nothing to be known of their count
        rows, columns = (torch.arange(length, device=image.device) for length in image.shape[1:3])
        wider = (
            torch.arange((n + self.multiple - 1) // self.multiple * self.multiple, device=image.device).clamp(max=n - 1)
            for n in image.shape[1:3]
        )
        probabilities, labels = self.portable.classes(stained.index_select(1, next(wider)).index_select(2, next(wider)))
        probabilities = probabilities.index_select(2, rows).index_select(3, columns)
        labels = labels.index_select(1, rows).index_select(2, columns)
        made = probabilities, labels
        return made if matrix is None or self.stain == "given" else (*made, matrix)
