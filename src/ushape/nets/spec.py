"""The spec algebra: a frozen description of a network, its short string, its canonical name, its YAML.

    unet                                     the defaults
    unet[width=16]                           widths 16-32-64-128-256
    unet[widths=16-24-32,depth=1]            three levels, one convolution unit each
    unet[width=16,stem=dilated-parallel-3]   any axis can be set in brackets
    unet+residual+attention-gate             `+name` sets the axis that `name` belongs to
    unet+aspp[rates=2-4-6]                   a modification's own parameters
    unet[encoder=timm:resnet34]              a network of the timm library as encoder
    attention-unet                           a published network: short for the spec that `ushape nets` shows
    attention-unet[width=16]+se              the same, changed

A string is parsed once into a `Spec`; everything else (network, name, diagram, counts) follows from the spec.
Order never matters: equal specs have equal canonical names, and `parse(spec.name) == spec`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from ushape.errors import SpecError, nearest
from ushape.nets.registry import AXES, NETWORK, Modification, Value, home, is_bare, is_sound, lookup
from ushape.nets.zoo import find_published, own_widths


@dataclass(frozen=True)
class Choice:
    """A modification chosen on an axis, with those of its parameters that differ from their defaults."""

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_show(v)}' for k, v in self.options)}]"


@dataclass(frozen=True)
class Spec:
    """A U-Net and its modifications.

    widths: channels of each level, finest first. depth: convolution units in a level. dropout: probability,
    at the end of each of the two coarsest encoder levels (0: none). The fields from stem on are the axes of
    `ushape.nets.registry.AXES`; they modify `unet`, the network. Another network leaves the U: it has its own
    parameters, its own meaning of widths, and no axis. Hashable; equal specs build equal networks from equal seeds.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    depth: int = 2
    dropout: float = 0.0
    stem: Choice = Choice("none")
    encoder: Choice = Choice("own")
    block: Choice = Choice("plain")
    down: Choice = Choice("max-pool")
    up: Choice = Choice("transposed")
    skip: Choice = Choice("concatenate")
    bridge: Choice = Choice("none")
    topology: Choice = Choice("plain")
    attention: Choice = Choice("none")
    norm: Choice = Choice("batch")
    activation: Choice = Choice("relu")
    padding: Choice = Choice("same")
    bias: Choice = Choice("auto")
    head: Choice = Choice("single")
    network: Choice = Choice("unet")

    def __post_init__(self) -> None:
        if not isinstance(self.widths, tuple) or not 2 <= len(self.widths) <= 10:
            raise SpecError(f"widths {_show(self.widths)}: give the channels of two to ten levels")
        if not all(type(w) is int and 1 <= w <= 8192 for w in self.widths):
            raise SpecError(f"widths {_show(self.widths)}: give levels of 1 to 8192 channels")
        if type(self.depth) is not int or not 1 <= self.depth <= 64:
            raise SpecError(f"depth {self.depth!r}: give a whole number from 1 to 64")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise SpecError(f"dropout {self.dropout!r}: give a probability from 0 up to, not including, 1")
        object.__setattr__(self, "dropout", abs(float(self.dropout)))
        for axis in (*AXES, NETWORK):  # options equal to their defaults are dropped: one spec, one form
            object.__setattr__(self, axis, _normal(lookup(axis, getattr(self, axis).name), getattr(self, axis)))

    @property
    def levels(self) -> int:
        return len(self.widths)

    @property
    def name(self) -> str:
        """The canonical name: `parse(spec.name) == spec`, and equal specs have equal names."""
        default, inside, behind = Spec(), [f"{k}={_show(v)}" for k, v in self.network.options], []
        own = own_widths(self.network.name)
        if self.widths != (own or default.widths):
            first = self.widths[0]
            if self.widths == _doubling(first, self.levels) and not own:
                inside += [f"width={first}"] * (first != default.widths[0])
                inside += [f"levels={self.levels}"] * (self.levels != default.levels)
            else:
                inside.append(f"widths={_show(self.widths)}")
        inside += [f"depth={self.depth}"] * (self.depth != default.depth)
        inside += [f"dropout={_show(self.dropout)}"] * (self.dropout != default.dropout)
        for axis in AXES:
            choice = getattr(self, axis)
            if choice == getattr(default, axis):
                continue
            if is_bare(axis, choice.name):
                behind.append(f"+{choice}")
            else:
                inside.append(f"{axis}={choice}")
        return self.network.name + (f"[{','.join(inside)}]" if inside else "") + "".join(behind)

    def __str__(self) -> str:
        return self.name

    def choice(self, axis: str) -> Choice:
        """What this spec has on `axis`, or as its network."""
        chosen: Choice = getattr(self, axis)
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Plain data, every field written out, for YAML and JSON."""
        out: dict[str, Any] = {"widths": list(self.widths), "depth": self.depth, "dropout": self.dropout}
        for axis in (*AXES, NETWORK):
            choice = self.choice(axis)
            plain = {k: list(v) if isinstance(v, tuple) else v for k, v in choice.options}
            out[axis] = {choice.name: plain} if plain else choice.name
        return out

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def from_dict(data: object) -> Spec:
    """Spec from `Spec.to_dict()`'s form; fields left out keep their defaults; SpecError on unknown keys."""
    if not isinstance(data, dict):
        raise SpecError(f"a spec is a mapping of fields, not {type(data).__name__} {str(data)[:40]!r}")
    known = [f.name for f in fields(Spec)]
    made: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise SpecError(f"unknown spec key {key!r}{nearest(str(key), known)} (known: {', '.join(known)})")
        if key in (*AXES, NETWORK):
            made[key] = _choice_from(key, value)
        elif key == "widths":
            if not isinstance(value, list):
                raise SpecError(f"widths {value!r}: give a list of channels, finest level first")
            made[key] = tuple(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f"{key} {value!r}: give a number")
        else:
            made[key] = value
    if "widths" not in made and NETWORK in made and (own := own_widths(made[NETWORK].name)):
        made["widths"] = own
    return Spec(**made)


def from_yaml(text: str) -> Spec:
    """Spec from YAML text; SpecError where it is no YAML or no spec."""
    try:
        return from_dict(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise SpecError(f"a spec in YAML that cannot be read: {error}") from None


def parse(text: str) -> Spec:
    """Spec from its short string (grammar above); SpecError says what is wrong and what to write instead."""
    try:
        terms = _split(text.strip(), "+")
        base, options = _term(terms[0])
        spec, given = _brackets(options, _begin(base))
        for term in terms[1:]:
            name, options = _term(term)
            modification = home(name)
            axis = modification.axis
            if axis in given:
                raise SpecError(
                    f"{given[axis]!r} and {name!r} are both modifications of the axis {axis}: keep one of them"
                )
            given[axis] = name
            changed: dict[str, Any] = {axis: Choice(name, _options(modification, options))}
            spec = replace(spec, **changed)
    except SpecError as error:
        raise SpecError(f"spec {text!r}: {error}") from None
    return spec


def modify(spec: Spec, change: str) -> Spec:
    """The spec with one change, written as in a spec's string: `residual`, `aspp[rates=2-4-6]`, `norm=instance`.

    SpecError where the change cannot be read, changes nothing, or its axis is changed already.
    """
    axis, equals, _ = change.partition("=")
    if equals and axis in AXES:
        changed, _ = _brackets([(axis, change[len(axis) + 1 :])], Spec())
    else:
        changed = parse(f"unet+{change}")
        axis, *more = [each for each in AXES if changed.choice(each) != Spec().choice(each)] or [""]
        if more:
            raise SpecError(f"{change!r} is {1 + len(more)} changes: give one at a time, as `{change.split('+')[0]}`")
    if not axis or changed == Spec():
        raise SpecError(f"{change!r} changes nothing: it is what a plain U-Net has")
    if spec.choice(axis) != Spec().choice(axis):
        raise SpecError(f"{change!r} and {str(spec.choice(axis))!r} are both on the axis {axis}: keep one of them")
    made: dict[str, Any] = {axis: changed.choice(axis)}
    return replace(spec, **made)


def _begin(base: str) -> Spec:
    """What a spec's first word stands for, before its brackets."""
    if base == "unet":
        return Spec()
    spec = find_published(base).spec
    if spec == base:
        own = own_widths(base)
        assert own is not None, f"{base} is published as itself but is no network"
        return Spec(widths=own, network=Choice(base))
    return parse(spec)


def _brackets(options: list[tuple[str, str]], start: Spec) -> tuple[Spec, dict[str, str]]:
    """What stands in `unet[...]` changes `start`: the spec so far, and which axes it has set to what.

    Axes that a published network sets count as given for what follows a +, not for what stands in brackets.
    """
    made: dict[str, Any] = {}
    given = {axis: start.choice(axis).name for axis in AXES if start.choice(axis) != Spec().choice(axis)}
    if start.network.name != "unet":
        own = lookup(NETWORK, start.network.name)
        mine = [(k, v) for k, v in options if k in own.options]
        options = [(k, v) for k, v in options if k not in own.options]
        if mine:
            kept = [(k, v) for k, v in start.network.options if k not in dict(mine)]
            made[NETWORK] = Choice(own.name, (*kept, *_options(own, mine)))
        numbers: dict[str, Any] = {}
        known = [*own.options, "widths"]
    else:
        numbers = {"width": int, "levels": int, "depth": int, "dropout": float}
        known = [*numbers, "widths", *AXES]
    for key, text in options:
        if key not in known:
            raise SpecError(f"unknown key {key!r}{nearest(key, known)} (known: {', '.join(known)})")
        if key in made:
            raise SpecError(f"{key!r} is given twice: keep one of them")
        if key in AXES:
            name, inner = _term(text)
            made[key], given[key] = Choice(name, _options(lookup(key, name), inner)), name
        elif key == "widths":
            made[key] = _value(key, text, (0,))
        else:
            made[key] = _value(key, text, numbers[key]())
    if "widths" in made and {"width", "levels"} & set(made):
        raise SpecError("`widths` already fixes width and levels: give widths alone")
    if {"width", "levels"} & set(made):
        if start.widths != _doubling(start.widths[0], start.levels):
            raise SpecError(f"width and levels: the widths {_show(start.widths)} do not double: give widths")
        width, levels = made.pop("width", start.widths[0]), made.pop("levels", start.levels)
        if not 2 <= levels <= 10:
            raise SpecError(f"levels={levels}: give 2 to 10")
        made["widths"] = _doubling(width, levels)
    return replace(start, **made), given


def _choice_from(axis: str, value: object) -> Choice:
    """A choice from YAML: `name` or `{name: {option: value}}`."""
    if isinstance(value, str):
        return Choice(value)
    if isinstance(value, dict) and len(value) == 1:
        ((name, options),) = value.items()
        if isinstance(name, str) and isinstance(options, dict):
            plain = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            return Choice(name, tuple(plain.items()))
    raise SpecError(f"{axis} {value!r}: give a name, or one name with its parameters")


def _normal(modification: Modification, choice: Choice) -> Choice:
    """The choice with its options checked, sorted, and without those that equal their defaults."""
    kept: dict[str, Value] = {}
    for key, value in choice.options:
        if key not in modification.options:
            known = list(modification.options)
            hint = f"known: {', '.join(known)}" if known else "it takes none"
            raise SpecError(f"{modification.name!r} has no parameter {key!r}{nearest(str(key), known)} ({hint})")
        if key in kept:
            raise SpecError(f"{modification.name!r}: {key!r} is given twice: keep one of them")
        default = modification.options[key]
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 2**1000 else math.inf
        if isinstance(value, float):
            value += 0.0  # -0 is 0
        if type(value) is not type(default) or not is_sound(value):
            raise SpecError(f"{modification.name!r}: {key}={value!r}: give a value like {_show(default)}")
        kept[key] = value
    changed = {k: v for k, v in sorted(kept.items()) if v != modification.options[k]}
    return Choice(choice.name, tuple(changed.items()))


def _options(modification: Modification, given: list[tuple[str, str]]) -> tuple[tuple[str, Value], ...]:
    """Options as text -> values of the type of their defaults; unknown keys stay for `_normal` to refuse."""
    return tuple((k, _value(k, v, modification.options.get(k, 0))) for k, v in given)


def _value(key: str, text: str, like: Value) -> Value:
    """Text -> a value of the type of `like`: whole number, number, or whole numbers joined by hyphens."""
    try:
        if isinstance(like, tuple):
            return tuple(int(part) for part in text.split("-"))
        return type(like)(text)
    except ValueError:
        kind = {int: "a whole number", float: "a number", tuple: "whole numbers joined by hyphens, as 1-2-4"}
        raise SpecError(f"{key}={text!r}: give {kind[type(like)]}") from None


def _show(value: object) -> str:
    """As short as can be read back: 1-2-4, 0.5, 3."""
    if isinstance(value, tuple | list):
        return "-".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def _doubling(width: int, levels: int) -> tuple[int, ...]:
    return tuple(width * 2**i for i in range(levels))


def _term(text: str) -> tuple[str, list[tuple[str, str]]]:
    """`name[key=value,...]` -> name and its pairs as text."""
    match = re.fullmatch(r"(timm:[a-z0-9_.-]+|[a-z0-9][a-z0-9-]*)(?:\[(.*)\])?", text.strip())
    if not match:
        raise SpecError(f"cannot read {text!r}: write name or name[key=value,...], in lower case")
    pairs = []
    for item in _split(match[2], ",") if match[2] is not None else []:
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise SpecError(f"cannot read {item!r} in {text!r}: write key=value")
        pairs.append((key.strip(), value.strip()))
    return match[1], pairs


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside brackets; SpecError where brackets do not match."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            raise SpecError("a ] closes no [")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise SpecError("a [ is never closed")
    return parts
