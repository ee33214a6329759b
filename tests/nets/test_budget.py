"""Costs against numbers worked out by hand, and widths that match a cost."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets import budget, count, field, registry, tables
from ushape.nets.budget import cost, counted, match, receptive_field
from ushape.nets.parts.plain import Style
from ushape.nets.spec import Choice, Spec, parse
from ushape.nets.zoo import published


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path))


def _own(monkeypatch: pytest.MonkeyPatch, axis: str, target: object) -> Spec:
    """A spec with a modification that is registered for one test."""
    made = registry.Modification("own", axis, "a test's", "nobody 2000", target)
    monkeypatch.setitem(registry._REGISTRY, (axis, "own"), made)
    changed = {axis: Choice("own")}
    return replace(parse("unet[width=4,levels=2,depth=1]"), **changed)


def test_small_network_by_hand() -> None:
    counts = counted(parse("unet[widths=2-3,depth=1,norm=none]"), in_channels=3, classes=5, size=16)
    encoder, bottom, up, decoder, head = 3 * 2 * 9, 2 * 3 * 9, 3 * 2 * 4, 4 * 2 * 9, 2 * 5  # weights
    assert counts["parameters"] == sum((encoder, bottom, up, decoder, head)) + 2 + 3 + 2 + 2 + 5
    fine, coarse = 16 * 16, 8 * 8  # px; the transposed convolution uses each weight once a coarse pixel
    assert counts["flops"] == 2 * (fine * (encoder + decoder + head) + coarse * (bottom + up))


def test_figure_of_the_measurements() -> None:
    assert counted(parse("unet[width=16]"))["flops"] / 256**2 == pytest.approx(92.7e3, rel=1e-3)


class _Nearest(nn.Sequential):
    """Up-sampling of the U-Net of 34.5M parameters in use: nearest, then a 3x3 convolution."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(nn.Upsample(scale_factor=2), style.unit(cin, cout))
        self.channels = cout


def test_published_network(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(_own(monkeypatch, "up", _Nearest), widths=(64, 128, 256, 512, 1024), depth=2)
    counts = counted(spec, classes=1)
    # its convolutions have a bias in front of the normalisation as well: one for each channel of 22 of them
    biases = 2 * (64 + 128 + 256 + 512 + 1024) + (512 + 256 + 128 + 64) * 3
    assert counts["parameters"] + biases == 34_527_041
    assert counts["flops"] / 1e9 == pytest.approx(130.7, abs=0.15)


class _Attention(nn.Module):
    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)  # each [N, HW, C]
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_linear_layers_and_attention_count(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    spec = _own(monkeypatch, "bridge", _Attention)
    without = replace(spec, bridge=Choice("none"))
    flops = [count._count(s, 3, 5, 16, device).flops for s in (spec, without)]
    tokens, channels = 8 * 8, 8
    assert flops[0] - flops[1] == 2 * tokens * channels * 3 * channels + 2 * 2 * tokens**2 * channels


def test_odd_sizes_count_their_padding() -> None:
    spec = parse("unet[width=4,levels=3]")
    assert counted(spec, size=37)["flops"] == counted(spec, size=40)["flops"]
    with pytest.raises(SpecError, match="size=0"):
        counted(spec, size=0)


def test_memory_by_hand() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1), nn.Flatten())
    image = torch.zeros(1, 3, 8, 8)
    with torch.no_grad(), count._Tally([image]) as tally:
        layers(image)
        first = tally.peak
        layers(image)
    assert first == 4 * 64 * (3 + 4 + 2)  # image and both convolutions' outputs; the rectifier is in place
    assert tally.peak == first  # freed in between


def test_memory_saved_for_training() -> None:
    counts = counted(parse("unet[widths=2-3,depth=1,norm=none]"), size=16)
    fine, coarse = 16 * 16, 8 * 8
    floats = 3 * fine + 2 * fine  # the image for the first convolution; its rectified output, for pooling
    floats += 2 * coarse + 3 * coarse  # pooled for the bottom's convolution, and its rectified output
    floats += 4 * fine + 2 * fine  # concatenated for the decoder's convolution, and its rectified output
    assert counts["saved_bytes"] == 4 * floats + 8 * 2 * coarse  # and where each maximum was (64 bits)


def _by_hand(levels: int, depth: int) -> int:
    """The largest field of an output pixel, from sets of 1-d positions carried back through the plain U."""

    def through(positions: set[int], units: int = depth) -> set[int]:
        return {p + d for p in positions for d in range(-units, units + 1)}

    def encoder(level: int, positions: set[int]) -> set[int]:  # features of a level -> the image
        positions = through(positions)
        return encoder(level - 1, {2 * p + d for p in positions for d in (0, 1)}) if level else positions

    def decoder(level: int, positions: set[int]) -> set[int]:
        if level == levels - 1:
            return encoder(level, positions)
        positions = through(positions)
        return encoder(level, positions) | decoder(level + 1, {p // 2 for p in positions})

    fields = [decoder(0, {p}) for p in range(2**levels)]
    return max(max(f) - min(f) + 1 for f in fields)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_receptive_field(levels: int, depth: int) -> None:
    assert receptive_field(parse(f"unet[width=2,levels={levels},depth={depth}]")) == _by_hand(levels, depth)


def test_receptive_field_of_the_smallest_on_paper() -> None:
    # output 2k: 3 px -> 2 coarse px -> 4 -> 8 px of the finest level -> 10
    assert receptive_field(parse("unet[levels=2,depth=1]")) == 10


def test_receptive_field_with_global_context() -> None:
    assert receptive_field(parse("unet[width=4,levels=3]+se")) is None
    assert receptive_field(parse("unet[width=4,levels=8]")) == 0  # not measured


class _Strip(nn.Module):
    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.strip = nn.Conv2d(channels, channels, (9, 1), padding=(4, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.strip(x)


class _Windows(nn.Module):
    """Means of windows of 3 px, padded inside: what repeats over three coarsest pixels."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % 3, 0, -height % 3))
        return x + F.interpolate(F.avg_pool2d(padded, 3), scale_factor=3.0)[:, :, :height, :width]


def test_receptive_field_of_strips_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = field.receptive_field(parse("unet[width=4,levels=2,depth=1]"))
    assert plain == 10
    assert field.receptive_field(_own(monkeypatch, "bridge", _Strip)) == plain + 2 * 8
    # two coarse px, in two windows: 6 px, 8 after the convolution, 16 fine px, 18 after the first
    assert field.receptive_field(_own(monkeypatch, "bridge", _Windows)) == 18


MODIFIED = ["unet+residual+attention-gate", "unet+dense", "unet[depth=1]+aspp+se", "unet[widths=10-24-50-70]"]


@pytest.mark.parametrize("text", MODIFIED)
def test_match_parameters(text: str) -> None:
    target = parse("unet[width=16]")
    made = match(parse(text), target)
    wanted, found = (count.count_parameters(s, 3, 5) for s in (target, made))
    assert abs(found / wanted - 1) <= 0.02
    assert replace(made, widths=parse(text).widths) == parse(text)  # nothing but widths has changed
    ratios = [a / b for a, b in zip(made.widths, parse(text).widths, strict=True)]
    assert max(ratios) / min(ratios) < 1.1


def test_match_flops_from_a_number() -> None:
    made = match(parse("unet[levels=3]+residual"), 1e9, by="flops", size=64)
    assert counted(made, size=64)["flops"] == pytest.approx(1e9, rel=0.02)


def test_match_keeps_doubling_widths_and_finds_itself() -> None:
    made = match(parse("unet[width=48]"), parse("unet[width=16]"))
    assert made == parse("unet[width=16]")
    odd = parse("unet[widths=7-20-31]")
    assert match(replace(odd, widths=(14, 40, 62)), odd) == odd
    widths = match(parse("unet"), 2e6).widths  # 16-32-... is 2.9% away
    assert not all(b == 2 * a for a, b in pairwise(widths))


def test_a_network_matches_itself_whatever_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "seconds", lambda *_: pytest.fail("measured"))
    odd = parse("unet[widths=7-20-31]+se")
    assert match(odd, odd, by="time") == odd


def test_match_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are made to be FLOPs, since those of a busy machine would make a test of the weather."""

    def seconds(specs: list[Spec], in_channels: int, classes: int, size: int, repeats: int = 7) -> list[float]:
        return [count.count_flops(s, in_channels, classes, size) / 1e9 for s in specs]

    monkeypatch.setattr(count, "seconds", seconds)
    target = parse("unet[width=8,levels=3]")
    made = match(parse("unet[levels=3]+dense+attention-gate"), target, by="time", size=64)
    first, second = seconds([made, target], 3, 5, 64)
    assert first == pytest.approx(second, rel=0.1)


def test_seconds_are_measured_on_request() -> None:
    torch.set_num_threads(1)
    spec = parse("unet[width=2,levels=2]")
    assert cost(spec, size=16).seconds is None
    seconds = cost(spec, size=16, timed=True).seconds
    assert seconds is not None
    assert 0 < seconds < 5


def test_match_out_of_reach() -> None:
    with pytest.raises(SpecError, match=r"the nearest is unet\[widths=1-1-1-2-3\], with 557"):
        match(parse("unet"), 500)
    with pytest.raises(SpecError, match=r"the nearest is unet\[width=512\]"):
        match(parse("unet"), 1e14)
    with pytest.raises(SpecError, match="params, flops or time"):
        match(parse("unet"), 500, by="size")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="more than 0"):
        match(parse("unet"), -1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [each.name for each in published()])
def test_the_narrowest_of_every_published_network_is_a_network_or_refused(name: str) -> None:
    """A search for widths may come down to one channel a level: no part of it may become empty there."""
    spec = parse(name)
    with suppress(SpecError):  # which names what is too narrow
        assert budget.sized(replace(spec, widths=(1,) * len(spec.widths)), size=64)["parameters"] > 0


def test_cache_gives_what_was_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = parse("unet[width=4,levels=3]+residual")
    first = cost(spec, size=32)
    monkeypatch.setattr(count, "count", None)  # nothing may be counted again
    monkeypatch.setattr(field, "receptive_field", None)
    assert cost(spec, size=32) == first
    monkeypatch.undo()
    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path / "empty"))
    assert cost(spec, size=32) == first


def test_cache_remembers_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SpecError("give 252 px")

    monkeypatch.setattr(count, "count", refuse)
    spec = parse("unet[width=4,levels=3]")
    with pytest.raises(SpecError, match="252"):
        counted(spec)
    monkeypatch.setattr(count, "count", None)  # nothing may be counted again
    with pytest.raises(SpecError, match="252"):
        counted(spec)


def test_cache_that_is_damaged_or_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = parse("unet[width=4,levels=2]")
    first = counted(spec, size=16)
    (file,) = (tmp_path / "costs").iterdir()
    file.write_text("{")
    assert counted(spec, size=16) == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path / "file"))
    assert counted(spec, size=16) == first


def test_cache_depends_on_size_and_on_a_modification_s_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = parse("unet[width=4,levels=2]")
    assert counted(spec, size=16) != counted(spec, size=32)
    files = len(list((tmp_path / "costs").iterdir()))
    counted(_own(monkeypatch, "bridge", _Strip), size=16)
    assert len(list((tmp_path / "costs").iterdir())) == files + 1
    counted(_own(monkeypatch, "bridge", eval("lambda channels, style: __import__('torch').nn.Identity()")), size=16)
    assert len(list((tmp_path / "costs").iterdir())) == files + 1  # a source that cannot be read is not kept


def test_known_tables_need_no_torch() -> None:
    specs = [parse("unet[width=16]"), parse("unet[width=4,levels=3]+residual")]
    rows = [tables.mods_table("skip"), tables.cost_table(specs, timed=False)]
    code = (
        "import json, sys\nfrom ushape.nets.spec import parse\nfrom ushape.nets import tables\n"
        f"specs = [parse(s) for s in {[s.name for s in specs]}]\n"
        "print(json.dumps([tables.mods_table('skip'), tables.cost_table(specs, timed=False)]))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == rows


def test_mods_table() -> None:
    rows = {row["name"]: row for row in tables.mods_table("skip")}
    assert rows["concatenate"]["default"]
    assert rows["concatenate"]["parameters"] == 1.0
    assert rows["attention-gate"]["year"] == 2018
    assert 1.0 < rows["attention-gate"]["flops"] < 1.05
    with pytest.raises(SpecError, match="unknown axis"):
        tables.mods_table("skips")


def test_speed_is_measured_side_by_side() -> None:
    small, large = parse("unet[width=4,levels=3]"), parse("unet[width=64,levels=3]")
    rows = tables.cost_table([small, large], size=64)
    assert 0 < rows[0]["seconds"] < rows[1]["seconds"]
    assert "seconds" not in tables.cost_table([small], size=64, timed=False)[0]


def test_tables_count_as_costs_do() -> None:
    spec = parse("unet[width=4,levels=3]+se")
    full, part = budget.counted(spec, 3, 5, 64), budget.sized(spec, 3, 5, 64)
    assert part == {key: full[key] for key in ("parameters", "flops")}


def test_progress_is_told_of_every_row() -> None:
    told: list[int] = []
    rows = tables.mods_table("skip", lambda: told.append(1))
    assert len(told) == len(rows)


def test_years() -> None:
    assert tables.year("Hu et al. 2018, arXiv:1709.01507") == 2018
    assert tables.year("Huang et al. 2020 (UNet 3+), arXiv:2004.08790") == 2020
    assert tables.year("arXiv:2004.08790") is None
    assert tables.year("UNET_modifications (DPB)") is None


def test_tables_print() -> None:
    console = Console(width=120, record=True, quiet=True, file=None)
    with console.capture() as captured:
        console.quiet = False
        console.print(tables.show_mods(tables.mods_table("attention")))
        console.print(tables.show_costs(tables.cost_table([parse("unet[width=4,levels=3]+se")], size=64, timed=False)))
    text = captured.get()
    assert "unet[width=4,levels=3]+se" in text
    assert "Hu et al. 2018" in text
    assert "global" in text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (33_292_416, "33.3 MB"), (10**12, "1.00 TB")]
)
def test_memory_as_people_read_it(count: int, text: str) -> None:
    assert tables.memory(count) == text


def test_user_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("USHAPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert budget.cache_folder() == tmp_path / "ushape"


class _Single(nn.Module):
    """A part that computes in single precision whatever it is given."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x.float().movedim(1, -1)).movedim(-1, 1)


def test_receptive_field_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert field.receptive_field(_own(monkeypatch, "bridge", _Single)) == 10
