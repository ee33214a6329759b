"""Hypothesis strategies for specs, from whatever is registered."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ushape.nets.registry import AXES, Value, modifications
from ushape.nets.spec import Choice, Spec


def values(default: Value) -> st.SearchStrategy[Any]:
    """Values that a parameter with this default can take."""
    if isinstance(default, tuple):
        return st.lists(st.integers(1, 99), min_size=1, max_size=6).map(tuple)
    if isinstance(default, int):
        return st.integers(0, 9999)
    return st.floats(allow_nan=False, allow_infinity=False)


def choices(axis: str) -> st.SearchStrategy[Choice]:
    """Modifications of an axis, some of their parameters changed."""

    def with_options(modification: Any) -> st.SearchStrategy[Choice]:
        each = {key: values(default) for key, default in modification.options.items()}
        options = st.fixed_dictionaries({}, optional=each).map(lambda d: tuple(d.items()))
        return st.builds(Choice, st.just(modification.name), options)

    registered = st.sampled_from(modifications(axis)).flatmap(with_options)
    if axis == "encoder":
        named = st.from_regex(r"timm:[a-z0-9_]{1,12}(\.[a-z0-9_]{1,6})?", fullmatch=True)
        return registered | st.builds(Choice, named, st.sampled_from([(), (("full", 1),)]))
    return registered


def specs() -> st.SearchStrategy[Spec]:
    """Any spec, buildable or not: up to five axes changed."""
    doubling = st.builds(lambda w, n: tuple(w * 2**i for i in range(n)), st.integers(1, 9), st.integers(2, 9))
    widths = doubling | st.lists(st.integers(1, 8192), min_size=2, max_size=10).map(tuple)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "widths": widths,
        "depth": st.integers(1, 64),
        "dropout": st.floats(0, 1, exclude_max=True),
    }
    fields |= {axis: choices(axis) for axis in AXES}
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True)
    return chosen.flatmap(lambda keys: st.fixed_dictionaries({k: fields[k] for k in keys})).map(lambda d: Spec(**d))
