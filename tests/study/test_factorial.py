"""Designs: arms, what effects say of known scores, and which effects a fraction mixes up."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ushape.errors import RunError
from ushape.study.factorial import DESIGNS, Design, make_design

FACTORS = ("a", "b", "c", "d", "e", "f", "g")
sizes = st.integers(2, 6)
values = st.lists(st.integers(-50, 50), min_size=30, max_size=30)


def scores(design: Design, main: dict[str, float], pairs: dict[frozenset[str], float], mean: float = 0.0) -> np.ndarray:
    """Scores of arms whose effects are known, in the coding -1 (off) and +1 (on)."""
    out = []
    for arm in design.arms:
        sign = {f: 1.0 if f in arm else -1.0 for f in design.factors}
        score = mean + sum(sign[f] * effect / 2 for f, effect in main.items())
        out.append(score + sum(np.prod([sign[f] for f in pair]) * effect / 2 for pair, effect in pairs.items()))
    return np.array(out)


@given(sizes, values)
def test_a_full_factorial_tells_all_effects_apart(size: int, numbers: list[int]) -> None:
    design = make_design("full", FACTORS[:size])
    assert len(design.arms) == len(set(design.arms)) == 2**size
    assert design.resolution is None
    main = dict(zip(design.factors, map(float, numbers), strict=False))
    pairs = {frozenset(p): float(n) for p, n in zip(combinations(design.factors, 2), numbers[7:], strict=False)}
    found = dict(
        zip([e.factors for e in design.effects], design.estimate(scores(design, main, pairs, 3.0)), strict=True)
    )
    for factor, effect in main.items():
        assert found[factor,] == pytest.approx(effect)
    for pair, effect in pairs.items():
        assert found[tuple(f for f in design.factors if f in pair)] == pytest.approx(effect)


@given(st.integers(3, 7), st.integers(1, 3), values)
def test_a_fraction_gives_sums_of_what_it_lists_as_aliases(size: int, halvings: int, numbers: list[int]) -> None:
    assume(halvings < size - 1 and (size, halvings) not in [(4, 2), (5, 3)])  # these are refused, see below
    design = make_design("fractional", FACTORS[:size], halvings)
    assert frozenset() in design.arms
    assert len(design.arms) == len(set(design.arms)) == 2 ** (size - halvings)
    main = dict(zip(design.factors, map(float, numbers), strict=False))
    pairs = {frozenset(p): float(n) for p, n in zip(combinations(design.factors, 2), numbers[7:], strict=False)}
    known = {frozenset({f}): e for f, e in main.items()} | pairs
    for effect, value in zip(design.effects, design.estimate(scores(design, main, pairs)), strict=True):
        mixed = [(1, effect.factors), *effect.aliases]
        assert value == pytest.approx(sum(sign * known[frozenset(f)] for sign, f in mixed))


@pytest.mark.parametrize(
    ("size", "halvings", "resolution"),
    [(3, 1, 3), (4, 1, 4), (5, 1, 5), (5, 2, 3), (6, 2, 4), (7, 1, 7), (7, 2, 4), (7, 3, 4), (8, 2, 5), (8, 4, 4)],
)
def test_resolutions_of_the_textbook(size: int, halvings: int, resolution: int) -> None:
    """Montgomery, Design and Analysis of Experiments, table 8.14: the best resolution of each fraction."""
    design = make_design("fractional", tuple("abcdefgh")[:size], halvings)
    assert design.resolution == resolution


def test_half_of_four() -> None:
    """2^(4-1), I = ABCD: eight arms, the base among them, two-way interactions aliased in pairs."""
    design = make_design("fractional", FACTORS[:4], 1)
    assert design.words == (("a", "b", "c", "d"),)
    assert frozenset() in design.arms
    assert {e.factors: e.aliases for e in design.effects if len(e.factors) == 2} == {
        ("a", "b"): ((1, ("c", "d")),),
        ("a", "c"): ((1, ("b", "d")),),
        ("a", "d"): ((1, ("b", "c")),),
    }
    assert all(not e.aliases for e in design.effects if len(e.factors) == 1)


def test_one_at_a_time_and_leave_one_out() -> None:
    one = make_design("one-at-a-time", ("a", "b"))
    assert one.arms == (frozenset(), frozenset("a"), frozenset("b"))
    assert one.estimate(np.array([1.0, 3.0, 0.5])).tolist() == [2.0, -0.5]
    left = make_design("leave-one-out", ("a", "b"))
    assert left.arms == (frozenset("ab"), frozenset("b"), frozenset("a"))
    assert left.estimate(np.array([5.0, 4.0, 5.5])).tolist() == [1.0, -0.5]


def test_many_scores_at_once() -> None:
    design = make_design("full", FACTORS[:2])
    assert design.estimate(np.zeros((3, 5, 4))).shape == (3, 5, 3)


@pytest.mark.parametrize(
    ("kind", "factors", "halvings", "words"),
    [
        ("fractional", "abc", 0, "can be halved 1 to 1 times"),
        ("full", "abc", 1, "no effect on a full design"),
        ("fractoinal", "ab", 1, "did you mean 'fractional'"),
        ("full", "aab", 0, "'a' is given twice"),
        ("full", "a", 0, "takes 2 or more; for one: ushape compare"),
        ("full", "abcdefghi", 0, "takes 2 to 8"),
        ("fractional", "ab", 1, "use --design full"),
        ("fractional", "abcd", 2, "halve less often"),
    ],
)
def test_refusals(kind: str, factors: str, halvings: int, words: str) -> None:
    with pytest.raises(RunError, match=words):
        make_design(kind, tuple(factors), halvings)


def test_every_design_has_a_name_that_is_known() -> None:
    for kind in DESIGNS:
        assert make_design(kind, FACTORS[:3], int(kind == "fractional")).kind == kind
