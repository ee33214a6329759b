"""A user's own modifications: as good as the package's, and errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tester
import torch
from torch import Tensor, nn

import ushape
from ushape.errors import SpecError
from ushape.nets import registry
from ushape.nets.budget import match
from ushape.nets.field import receptive_field
from ushape.nets.parts.plain import Style
from ushape.nets.plugin import files, hashes, load_plugin, text_hash
from ushape.nets.reach import reach
from ushape.nets.spec import from_yaml, parse
from ushape.nets.unet import UNet, build
from ushape.nets.weights import load_weights, save_weights
from ushape.threads import Lanes
from ushape.train.fitting import Fitting
from ushape.train.recipe import Recipe

MINE = """
import torch
import ushape
from torch import nn

COUNT = globals().get("COUNT", 0) + 1

@ushape.modification(axis="skip", name="scaled", summary="skips are scaled", source="a test", start=0.5, power=1)
class Scaled(nn.Module):
    def __init__(self, cskip, cup, style, level, start, power):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(start) ** power)
        self.channels = cskip + cup

    def forward(self, skip, up):
        return torch.cat([skip * self.scale, up], dim=1)
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = registry.modifications()
    yield
    registry.forget(m for m in registry.modifications() if m not in before)


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_plugin_is_a_modification_like_any_other(tmp_path: Path) -> None:
    (made,) = load_plugin(written(tmp_path, MINE))
    assert (made.axis, made.name, made.options["start"]) == ("skip", "scaled", 0.5)
    spec = parse("unet[width=8,levels=3]+scaled[start=0.25]")
    assert spec.name == "unet[width=8,levels=3]+scaled[start=0.25]"
    assert from_yaml(spec.to_yaml()) == spec

    def make(in_channels: int, classes: int, seed: int) -> UNet:
        return build(spec, in_channels, classes, seed)

    tester.computes(make, tmp_path)
    tester.exports(make, onnx=False)
    tester.learns(make)


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    path = written(tmp_path, MINE)
    assert load_plugin(path) is load_plugin(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "registers nothing"),
        ("def f(:", "line 1"),
        ("import ushape\n\nx = 1 / 0", "line 3: ZeroDivisionError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        (MINE.replace('"skip"', '"skp"'), "unknown axis 'skp'"),
        (MINE.replace('"scaled"', '"add"'), "already a modification of the axis skip"),
        (MINE.replace('"scaled"', '"se"'), "already a modification of the axis attention"),
        (MINE.replace('"scaled"', '"Scaled"'), "lower-case"),
        (MINE.replace('"skip"', '"padding"'), "is a switch"),
        (MINE + "\nraise ValueError('late')", "late"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    before = registry.modifications()
    with pytest.raises(SpecError) as caught:
        load_plugin(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert registry.modifications() == before
    path.write_text(MINE)  # mended: can be loaded
    load_plugin(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(SpecError, match=r"not a \.py file"):
        load_plugin(written(tmp_path, MINE, "mine.txt"))


def test_a_class_can_be_registered_without_a_file() -> None:
    @ushape.modification(axis="norm", name="nothing-at-all", summary="none", source="a test")
    class Nothing(nn.Identity):
        pass

    assert isinstance(build("unet[width=4,levels=2,norm=nothing-at-all]").encoder.levels[0][0][0][1], Nothing)


def register(axis: str, name: str, target: Callable[..., nn.Module]) -> None:
    registry.register(axis, name, "a change", "a test", target)


class Twice(nn.Module):
    """One unit under two names, as recurrent blocks have it."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        unit = style.unit(cout, cout)
        self.units = nn.Sequential(style.unit(cin, cout), unit, unit)

    def forward(self, x: Tensor) -> Tensor:
        return self.units(x)  # type: ignore[no-any-return]


def test_a_module_under_two_names_is_averaged_once_and_saved(tmp_path: Path) -> None:
    register("block", "twice", Twice)
    net = build("unet[width=4,levels=2]+twice", seed=0)
    recipe = Recipe(batch=1, shards=1, steps=1, ema=0.5)
    with Lanes(1) as lanes:
        run = Unmoved(net, recipe, 0, tmp_path, lanes, torch.device("cpu"))
    with torch.no_grad():
        for value in (*run.net.parameters(), *run.net.buffers()):
            value.copy_(torch.ones_like(value))
        for value in (*run.average.parameters(), *run.average.buffers()):
            value.zero_()
    run._average_weights()  # keeps (1 + 0) / (10 + 0), warming up
    floats = [value for value in run.average.state_dict().values() if value.is_floating_point()]
    assert all(torch.allclose(value, torch.tensor(0.9)) for value in floats)
    save_weights(tmp_path / "weights.safetensors", run.average, {"mpp": 1.2})
    found = load_weights(tmp_path).net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in run.average.state_dict().items())


class Unmoved(Fitting):
    def shard_loss(self, shard: int) -> Tensor:
        raise NotImplementedError


class Even(nn.ConvTranspose2d):
    """A way up that is a convolution itself, with weights of its own."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(cin, cout, 2, 2)
        self.channels = cout

    def initialise(self) -> None:
        nn.init.constant_(self.weight, 0.25)


def test_a_convolution_may_begin_as_it_says() -> None:
    register("up", "even", Even)
    net = build("unet[width=4,levels=2]+even", seed=0)
    (up,) = (module for module in net.modules() if isinstance(module, Even))
    assert torch.equal(up.weight, torch.full_like(up.weight, 0.25))


class Grouped(nn.Module):
    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.GroupNorm(16, cout))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def test_a_part_of_many_groups_has_a_field_and_a_matched_width() -> None:
    register("block", "grouped", Grouped)
    spec = parse("unet[width=16,levels=2]+grouped")
    assert receptive_field(spec) is None  # the statistics span the image
    assert reach(spec) is None
    assert match(spec, parse("unet[width=32,levels=2]+grouped"), "params", classes=5).widths == (32, 64)


class Own(nn.Module):
    """An encoder that goes down by what it is given."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, stem: Any, down: Any, level: Any, dropout: float):
        super().__init__()
        self.first, self.down = nn.Conv2d(in_channels, widths[0], 1), down(widths[0], widths[1])
        self.second = nn.Conv2d(self.down.channels, widths[1], 1)
        self.channels = widths

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.first(image)
        return [fine, self.second(self.down(fine))]


def test_an_encoder_may_go_down_as_the_spec_says() -> None:
    register("encoder", "mine", Own)
    plain, blurred = (build(f"unet[widths=4-8,encoder=mine]{more}", seed=0) for more in ("", "+blur-pool"))
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.equal(plain.eval()(image), blurred.eval()(image))


def test_what_a_part_must_say(tmp_path: Path) -> None:
    registry.register("up", "mute", "says nothing", "a test", partial(_mute))
    with pytest.raises(SpecError, match=r"says in \.channels"):
        build("unet[width=4,levels=2]+mute")


def _mute(cin: int, cout: int, style: object) -> nn.Module:
    return nn.Upsample(scale_factor=2)


def test_a_copy_of_a_plugin_is_the_plugin(tmp_path: Path) -> None:
    """As two studies of one plugin have it, each with its own copy."""
    (made,) = load_plugin(written(tmp_path, MINE))
    (tmp_path / "study").mkdir()
    assert load_plugin(written(tmp_path / "study", MINE, "other.py")) == [made]
    assert not [file for file in files([parse("unet+scaled")]) if file.name == "other.py"]
    with pytest.raises(SpecError, match="'scaled' is already a modification"):
        load_plugin(written(tmp_path, MINE + "\n# changed\n", "third.py"))


def test_a_plugin_is_what_it_was_when_it_was_loaded(tmp_path: Path) -> None:
    """Networks are made of what is in memory, whatever becomes of the file."""
    file = written(tmp_path, MINE)
    load_plugin(file)
    spec = parse("unet[width=4,levels=2]+scaled")
    before = hashes([spec])
    assert before == {"mine.py": text_hash(file)}
    file.write_text(MINE + "\n# changed\n")
    assert hashes([spec]) == before
    file.unlink()
    assert hashes([spec]) == before


def test_two_plugins_of_one_name_cannot_serve_one_network(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    load_plugin(written(tmp_path, MINE))
    load_plugin(written(tmp_path / "other", MINE.replace("skip", "attention", 1).replace('"scaled"', '"other"')))
    hashes([parse("unet+scaled")])
    with pytest.raises(SpecError, match=r"mine\.py: another plugin that is needed has the same file name: rename one"):
        hashes([parse("unet+scaled"), parse("unet+other")])


@pytest.mark.parametrize("value", ["True", "'x'", "()", "(1, 2.5)", "None", "(0, 1)", "-1", "float('inf')"])
def test_a_parameter_that_no_spec_can_say_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SpecError, match=r"mine\.py.*its parameter power=.* cannot be written in a spec: give"):
        load_plugin(written(tmp_path, MINE.replace("power=1)", f"power={value})")))
