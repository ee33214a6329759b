"""Diagrams: valid, complete, deterministic, and nothing written over anything else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets import boxes, diagram, draw, layout, registry, zoo
from ushape.nets.dataflow import Dataflow, Stage
from ushape.nets.describe import Kind
from ushape.nets.draw import differences
from ushape.nets.flow import Flow
from ushape.nets.spec import Spec, parse
from ushape.nets.svg import Svg, text_width, wrap

SVG = "{http://www.w3.org/2000/svg}"
EVERYTHING = "dense+attention-gate+aspp[rates=1-2-4-8]+se[reduction=8]+deep-supervision"
SPECS = [
    "unet",
    "unet[widths=1-1,depth=1]",
    "unet[widths=5-12-9,depth=6]+residual",
    "unet[levels=3,width=8,stem=dilated-parallel-5]+dilated-parallel-3[dilations=1-2-3-4-5-6-7-8-9-10-11-12]",
    *(f"unet[levels={n},width=4,dropout=0.25,norm=none,stem=dilated-parallel-3]+{EVERYTHING}" for n in range(2, 8)),
    "unet[widths=8192-8192-8192]+residual",
]


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USHAPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _texts(root: ET.Element) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Every line of text with the box (left, top, right, bottom) that it can take at most."""
    found = []
    for element in root.iter(f"{SVG}text"):
        size, bold = float(element.get("font-size", "0")), element.get("font-weight") == "bold"
        runs = [(element.text or "", bold)]
        runs += [(span.text or "", span.get("font-weight") == "bold") for span in element]
        width = sum(text_width(text, size, heavy) for text, heavy in runs)
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[element.get("text-anchor", "start")]
        found.append(("".join(t for t, _ in runs), (left, y - 0.72 * size, left + width, y + 0.2 * size)))
    return found


def _legible(svg: str) -> ET.Element:
    """The document, if all of it is inside its borders and no text stands over another."""
    root = ET.fromstring(svg)
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    texts = _texts(root)
    for text, (left, top, right, bottom) in texts:
        assert left >= 0, text
        assert top >= 0, text
        assert right <= width, text
        assert bottom <= height, text
    for (text, a), (other, b) in combinations(texts, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (text, other)
    for element in root.iter(f"{SVG}rect"):
        if element.get("x"):
            assert float(element.get("x", "")) >= 0
            assert float(element.get("x", "")) + float(element.get("width", "")) <= width
            assert float(element.get("y", "")) + float(element.get("height", "")) <= height
    return root


def _check(svg: str, spec: Spec, encoded: tuple[int, ...] | None = None) -> list[str]:
    """Texts of a diagram that holds what it must, inside its borders, without overlap."""
    root = _legible(svg)
    words = [text for text, _ in _texts(root)]
    for channels in (*spec.widths[:-1], *(encoded or spec.widths)):
        assert str(channels) in words
    assert root.findtext(f"{SVG}title") == spec.name
    flowing = "".join(words)
    for change in differences(spec):
        assert change.name in flowing
        assert change.source.replace(" ", "") in flowing.replace(" ", "")
    return words


@pytest.mark.parametrize("text", SPECS)
def test_diagram_is_whole_and_legible(text: str) -> None:
    spec = parse(text)
    svg = draw.draw(spec)
    _check(svg, spec)
    assert draw.draw(spec) == svg


@pytest.mark.parametrize("topology", ["nested", "full-scale", "double"])
@pytest.mark.parametrize("levels", [2, 3, 5, 7])
def test_other_topologies(monkeypatch: pytest.MonkeyPatch, topology: str, levels: int) -> None:
    """Drawn from the axis alone, whatever the networks of this version offer on it."""

    def chosen(spec: Spec, axis: str, otherwise: str) -> str:
        return topology if axis == "topology" else boxes.chosen(spec, axis, otherwise)

    monkeypatch.setattr(layout, "chosen", chosen)
    monkeypatch.setattr(diagram, "chosen", chosen)
    monkeypatch.setattr(draw, "chosen", chosen)
    spec = parse(f"unet[levels={levels},width=4,stem=dilated-parallel-3]+{EVERYTHING}")
    _check(draw.draw(spec), spec)


def test_encoder_of_another_make(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(spec: Spec, axis: str, otherwise: str) -> str:
        return "timm:resnet34" if axis == "encoder" else boxes.chosen(spec, axis, otherwise)

    monkeypatch.setattr(layout, "chosen", chosen)
    monkeypatch.setattr(diagram, "chosen", chosen)
    monkeypatch.setattr(draw, "chosen", chosen)
    monkeypatch.setattr(draw, "_encoded", lambda *_: (0, 64, 96, 160, 384))
    _check(draw.draw(parse("unet")), parse("unet"), encoded=(64, 96, 160, 384))


def test_sizes_without_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolutions of Ronneberger et al. 2015, figure 1."""
    monkeypatch.setattr(boxes, "chosen", lambda spec, axis, otherwise: {"padding": "valid"}.get(axis, otherwise))
    down, up = boxes.sizes(parse("unet"), 572)
    assert down == [568, 280, 136, 64, 28]
    assert up == [388, 196, 100, 52]


def test_resolution_and_cost_are_written() -> None:
    words = _check(draw.draw(parse("unet[width=16]"), size=250), parse("unet[width=16]"))
    assert "1,942,645 parameters · 6.07 GFLOPs at 250² px" in words
    assert {"250²", "256²", "128²", "64²", "32²", "16²"} <= set(words)  # the scores have the image's own size


def test_plain_has_no_differences() -> None:
    assert differences(parse("unet[width=16,depth=3]")) == []
    assert "Plain U-Net" in draw.draw(parse("unet[width=16]"))


def test_long_foreign_words_are_escaped_and_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a-name-that-goes-on-" * 6 + "and-on"
    targets = {"skip": "skips.plain:Concatenate", "bridge": "plain:identity", "down": "resampling.plain:MaxPool"}
    for axis, target in targets.items():
        made = registry.Modification(f"{axis}-{name}", axis, "<b> & 'x'; " * 30, "Nobody 2000 & others", target)
        monkeypatch.setitem(registry._REGISTRY, (axis, made.name), made)
    spec = parse("unet[width=4,levels=3]" + "".join(f"+{axis}-{name}" for axis in targets))
    _check(draw.draw(spec), spec)


def _segments(root: ET.Element) -> list[tuple[float, float, float, float]]:
    """Straight pieces of lines: left, top, right, bottom."""
    found = []
    for path in root.iter(f"{SVG}path"):
        if path.get("stroke") != "#d9dde3":  # the rule under the picture
            points = [tuple(map(float, p.split(","))) for p in (path.get("d") or "")[1:].split(" L")]
            for (x, y), (x2, y2) in pairwise(points):
                assert x == x2 or y == y2
                found.append((min(x, x2), min(y, y2), max(x, x2), max(y, y2)))
    return found


def _check_ways(root: ET.Element) -> None:
    """No line goes through a box, or through text."""
    boxes = [box for _, box in _texts(root)]
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("x"):
            x, y, width, height = (float(rect.get(key, "0")) for key in ("x", "y", "width", "height"))
            boxes.append((x, y, x + width, y + height))
    for segment in _segments(root):
        for box in boxes:
            apart = segment[2] <= box[0] + 0.1 or box[2] - 0.1 <= segment[0]
            assert apart or segment[3] <= box[1] + 0.1 or box[3] - 0.1 <= segment[1], (segment, box)


@st.composite
def _flows(draw_from: st.DrawFn) -> Dataflow:
    """Any network of up to nine stages."""
    number = draw_from(st.integers(1, 9))
    stages, edges = [Stage("image", Kind("image"), "image", 3, 256, 0)], set()
    for i in range(1, number + 1):
        level, channels = draw_from(st.integers(-1, 4)), draw_from(st.sampled_from([1, 5, 64, 2048]))
        name, kind = f"stage with a name {i}", Kind(f"Kind {i % 3}", "what it does " * 20)
        count, supervised = draw_from(st.sampled_from([1, 1, 2, 40])), draw_from(st.booleans())
        group = f"stages{i % 2}"
        side = None if level == 4 else int(256 / 2**level)
        stages.append(Stage(name, kind, group, channels, side, level, 1000, count, supervised))
        edges |= {(a, i) for a in draw_from(st.sets(st.integers(0, i - 1), max_size=4))}
    stages.append(Stage("scores", Kind("scores"), "scores", 5, 256, 0))
    edges.add((number, number + 1))
    return Dataflow(tuple(stages), tuple(sorted(edges)))


@settings(max_examples=8, deadline=None)
@given(_flows())
def test_any_dataflow_is_legible(flow: Dataflow) -> None:
    picture, svg = Flow(flow, 5), Svg()
    picture.draw(svg, 36, 36)
    width = max(700.0, picture.width)
    y = picture.legend(svg, 36, 36 + picture.height + 34, width)
    text = svg.to_string(width + 72, y + 36, "any", "any")
    root = _legible(text)
    _check_ways(root)
    words = Counter(word for word, _ in _texts(root))
    for stage in flow.stages[1:-1]:
        assert any(word.startswith(stage.name.rpartition(" ")[0][:12]) for word in words)
    assert words["image"] == words["scores"] == 1
    heads = [p for p in root.iter(f"{SVG}polygon") if float(p.get("points", "").split(",")[1].split()[0]) < y]
    assert len(heads) >= len(flow.edges)


class Leaving(nn.Module):
    """A network that leaves the U."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2
        self.left, self.right = nn.Conv2d(in_channels, widths[0], 3, padding=1), nn.Conv2d(widths[0], widths[1], 1)
        self.score = nn.Conv2d(sum(widths), classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.left(image)
        coarse = self.right(F.max_pool2d(fine, 2))
        out: Tensor = self.score(torch.cat([fine, F.interpolate(coarse, scale_factor=2)], 1))
        return out


def test_network_that_leaves_the_u(monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry.Modification("leaving-net", registry.NETWORK, "a module of its own", "Nobody 2000", Leaving)
    monkeypatch.setitem(registry._REGISTRY, (registry.NETWORK, made.name), made)
    monkeypatch.setitem(zoo._WIDTHS, made.name, (4, 6))
    entry = zoo.Published(made.name, "Leaving & Net", made.name, "Nobody 2000", 123, "nowhere", ours=203, note="a note")
    monkeypatch.setitem(zoo._ZOO, made.name, entry)
    svg = draw.draw(parse("leaving-net"), classes=2, size=64)
    assert svg == draw.draw(parse("leaving-net"), classes=2, size=64)
    root = _legible(svg)
    _check_ways(root)
    words = Counter(word for word, _ in _texts(root))
    assert all(words[word] == 1 for word in ("image", "left", "right", "score", "scores", "Leaving & Net", "A note"))
    assert "123 parameters from 3 to 1 channels (nowhere); here 203" in words
    assert {"4", "6", "64²", "32²"} <= set(words)
    assert "Changed from Leaving &amp; Net" in draw.draw(parse("leaving-net[widths=2-3]"), classes=2, size=64)


def test_published_title() -> None:
    words = _check(draw.draw(parse("attention-unet")), parse("attention-unet"))
    assert "Attention U-Net" in words
    assert "attention-unet = unet[width=64,bias=always]+nearest+attention-gate" in words
    assert "Published" not in _check(draw.draw(parse("unet[width=6]")), parse("unet[width=6]"))


def test_wrap() -> None:
    assert wrap("one two three", 10, 45) == ["one two", "three"]
    assert "".join(wrap("unbreakable" * 5, 10, 60)) == "unbreakable" * 5
    assert all(text_width(line, 10) <= 60 for line in wrap("unbreakable" * 5, 10, 60))
    assert wrap("", 10, 60) == [""]
