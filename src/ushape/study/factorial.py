"""Which arms an ablation needs, and how effects are read from them. Pure numpy; no torch.

Factors are modifications, on or off. Every effect is a contrast: a weighted sum of the arms' scores, so that one
bootstrap of the scores gives the intervals of all effects.

    one-at-a-time    base, and base + each: k + 1 arms; interactions are not seen
    leave-one-out    all on, and all but each: k + 1 arms; what each adds to the rest
    full             all 2^k subsets: main effects and two-way interactions, free of each other
    fractional       2^(k - p) subsets, chosen so that effects are mixed up (aliased) as late as possible
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ushape.errors import RunError, nearest

DESIGNS = ("one-at-a-time", "leave-one-out", "full", "fractional")
MOST = 8
"""Factors of a factorial: 2^8 arms are more than anybody trains."""

Word = frozenset[str]
"""A set of factors: an effect (one factor: main effect), or a word of a defining relation."""


@dataclass(frozen=True)
class Effect:
    """What one factor, or two together, do to a score.

    weights: one for each arm of the design; the effect is their sum over the arms' scores. aliases: sign and factors
    of effects of up to two factors that the design cannot tell from this one (the value is the sum of all of them).
    """

    factors: tuple[str, ...]
    weights: tuple[float, ...]
    aliases: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def name(self) -> str:
        return " x ".join(self.factors)


@dataclass(frozen=True)
class Design:
    """Arms of an ablation, each the factors that are on; the first is the baseline (nothing on, where it is there).

    resolution: length of the shortest word of the defining relation (None: nothing is aliased); words: that relation:
    sets of factors of which an even number is on in every arm, so that the arm with nothing on is always there.
    """

    kind: str
    factors: tuple[str, ...]
    arms: tuple[Word, ...]
    effects: tuple[Effect, ...]
    resolution: int | None = None
    words: tuple[tuple[str, ...], ...] = ()
    halvings: int = 0

    def estimate(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of the arms [..., arms] -> effects [..., effects]."""
        weights = np.array([effect.weights for effect in self.effects])  # [effects, arms]
        estimated: NDArray[np.float64] = np.asarray(scores) @ weights.T
        return estimated


def make_design(kind: str, factors: Sequence[str], halvings: int = 0) -> Design:
    """The arms and effects of a design over 2 to 8 factors; a fractional one has 2^(factors - halvings) arms.

    A main effect is the mean score with the factor minus the mean score without it. A two-way interaction is half of
    the difference between the factor's effect with the other one and without it (Montgomery, Design and Analysis of
    Experiments, section 6.2). `halvings` is for a fractional design alone. RunError where a name is unknown or given
    twice, or a fraction is too small to keep main effects apart (resolution below III).
    """
    names = tuple(factors)
    if kind not in DESIGNS:
        raise RunError(f"unknown design {kind!r}{nearest(kind, list(DESIGNS))} (known: {', '.join(DESIGNS)})")
    if len(set(names)) != len(names):
        raise RunError(f"{next(n for n in names if names.count(n) > 1)!r} is given twice: name each factor once")
    if len(names) < 2:
        raise RunError(f"{len(names)} factors: a design takes 2 or more; for one: ushape compare BASE BASE+NAME")
    if kind in ("full", "fractional") and len(names) > MOST:
        raise RunError(f"{len(names)} factors: a {kind} design takes 2 to {MOST}: take --design one-at-a-time")
    if halvings and kind != "fractional":
        raise RunError(f"halvings={halvings} has no effect on a {kind} design: leave it out")
    if kind == "one-at-a-time":
        arms = (Word(), *(Word({n}) for n in names))
        return Design(kind, names, arms, tuple(Effect((n,), _difference(arms, i, 0)) for i, n in enumerate(names, 1)))
    if kind == "leave-one-out":
        arms = (Word(names), *(Word(names) - {n} for n in names))
        return Design(kind, names, arms, tuple(Effect((n,), _difference(arms, 0, i)) for i, n in enumerate(names, 1)))
    words = _relation(names, halvings) if kind == "fractional" else ()
    basic = names[: len(names) - halvings]
    every = [Word(c) for size in range(len(basic) + 1) for c in combinations(basic, size)]
    arms = tuple(_completed(arm, names[len(basic) :], words) for arm in every)
    return Design(
        kind, names, arms, _effects(names, arms, words), min(map(len, words), default=None), _told(words), halvings
    )


def _difference(arms: Sequence[Word], on: int, off: int) -> tuple[float, ...]:
    return tuple(float(i == on) - float(i == off) for i in range(len(arms)))


def _relation(names: tuple[str, ...], halvings: int) -> tuple[Word, ...]:
    """The defining relation of the fraction whose shortest words are longest, then fewest (least aberration)."""
    if len(names) < 3:
        raise RunError(f"{len(names)} factors cannot be told apart in half of their arms: use --design full")
    if not 1 <= halvings < len(names) - 1:
        raise RunError(f"halvings={halvings}: {len(names)} factors can be halved 1 to {len(names) - 2} times")
    basic, added = names[: len(names) - halvings], names[len(names) - halvings :]
    products = [Word(c) for size in range(2, len(basic) + 1) for c in combinations(basic, size)]
    best: tuple[Word, ...] = ()
    rank: tuple[int, ...] = ()
    for chosen in combinations(products, halvings):
        generators = [word | {name} for word, name in zip(chosen, added, strict=True)]
        group = _group(generators)
        lengths = [len(word) for word in group]
        found = tuple(-lengths.count(n) for n in range(1, len(names) + 1))  # fewest short words first
        if not best or found > rank:
            best, rank = group, found
    if not best or min(map(len, best)) < 3:
        raise RunError(f"{len(names)} factors in {2 ** len(basic)} arms mix up main effects: halve less often")
    return best


def _group(generators: Sequence[Word]) -> tuple[Word, ...]:
    """All products of generators: a factor that occurs twice cancels out."""
    words = {Word()}
    for generator in generators:
        words |= {word ^ generator for word in words}
    return tuple(sorted(words - {Word()}, key=lambda word: (len(word), sorted(word))))


def _completed(arm: Word, added: Sequence[str], words: Sequence[Word]) -> Word:
    """An arm over the basic factors, with each added factor on where its word has an odd number of others on."""
    done = set(arm)
    for name in added:
        (word,) = [w for w in words if name in w and not (set(added) - {name}) & w]
        if len(word & done) % 2:
            done.add(name)
    return Word(done)


def _effects(names: tuple[str, ...], arms: tuple[Word, ...], words: tuple[Word, ...]) -> tuple[Effect, ...]:
    """Main effects, then two-way interactions; of those that the design cannot tell apart only the first."""
    found: list[Effect] = []
    seen: set[Word] = set()
    wanted = [Word(c) for size in (1, 2) for c in combinations(names, size)]
    for effect in wanted:
        if effect in seen:
            continue
        mixed = {effect ^ word: (-1) ** len(word) for word in words if len(effect ^ word) <= 2}
        seen |= {effect, *mixed}
        signs = [np.prod([1.0 if factor in arm else -1.0 for factor in effect]) for arm in arms]
        weights = tuple(float(sign) * 2 / len(arms) for sign in signs)
        found.append(
            Effect(
                _ordered(effect, names), weights, tuple((sign, _ordered(word, names)) for word, sign in mixed.items())
            )
        )
    return tuple(found)


def _ordered(word: Word, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in word)


def _told(words: Sequence[Word]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(sorted(word)) for word in words)
