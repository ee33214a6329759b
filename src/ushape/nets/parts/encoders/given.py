"""An encoder around a network that was made for another purpose: a pyramid of features that begins below the image."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ushape.nets.parts.encoders.own import Level, Make, OwnEncoder
from ushape.nets.parts.plain import Dropout


class GivenEncoder(nn.Module):
    """image [N, cin, H, W] -> features, finest first: [N, c_i, H / 2^i, W / 2^i], or None where there are none.

    network: image -> the features of the levels in `given` (level -> channels), finest first. full: levels above the
    first of those are the spec's own, on the image; else they give nothing across the U. Dropout stands behind each of
    the two coarsest levels.
    """

    def __init__(
        self,
        network: nn.Module,
        given: Mapping[int, int],
        in_channels: int,
        widths: tuple[int, ...],
        stem: Make,
        down: Make,
        level: Level,
        dropout: float,
        full: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.given = sorted(given)
        missing = widths[: self.given[0]] if full else ()
        self.own = OwnEncoder(in_channels, missing, stem, down, level, dropout=0.0) if missing else None
        channels = dict(given) | dict(enumerate(missing))
        self.channels = tuple(channels.get(i, 0) for i in range(len(widths)))
        self.dropout = Dropout(dropout)

    def forward(self, image: Tensor) -> list[Tensor | None]:
        features: list[Tensor | None] = [None] * len(self.channels)
        if self.own is not None:
            own = self.own(image)
            features[: len(own)] = own
        for i, x in zip(self.given, self.network(image), strict=True):
            features[i] = self.dropout(x) if i >= len(self.channels) - 2 else x
        return features
