"""The expanding half of U-Net (Ronneberger et al. 2015, figure 1): level by level, each from the one below."""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Kit, centre_crop, channels_of


class PlainTopology(nn.Module):
    """across [N, c_i, H / 2^i, W / 2^i] and the bottom -> decoder features [N, w_i, H / 2^i, W / 2^i], finest first.

    Where convolutions are unpadded, features from the encoder are larger than the decoder's: they are cropped.
    """

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        self.widths = kit.widths[:-1]
        coarser = (*kit.widths[1:-1], kit.channels[-1])
        self.ups, self.skips, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(self.widths):
            self.ups.append(kit.up(coarser[i], width))
            self.skips.append(kit.skip(kit.channels[i], channels_of(self.ups[-1]), i))
            self.decoder.append(kit.level(channels_of(self.skips[-1]), width))

    def forward(self, image: Tensor, across: list[Tensor | None], bottom: Tensor) -> list[Tensor]:
        x = bottom
        decoded: list[Tensor] = []
        for i in reversed(range(len(self.decoder))):
            up = self.ups[i](x)  # [N, cu, H / 2^i, W / 2^i]
            x = self.decoder[i](self.skips[i](_fitted(across[i], up), up))
            decoded.insert(0, x)
        return decoded


def _fitted(skip: Tensor | None, up: Tensor) -> Tensor | None:
    return skip if skip is None or skip.shape[2:] == up.shape[2:] else centre_crop(skip, up)
