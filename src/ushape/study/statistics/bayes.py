"""How probable it is that an arm is practically better: the Bayesian signed-rank test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ushape.errors import RunError
from ushape.study.statistics.evidence import Float

CHUNK = 5_000


@dataclass(frozen=True)
class Superiority:
    """Of each region the posterior probability that the mean of two patients' differences is likeliest to lie in it."""

    better: float
    equivalent: float
    worse: float


def bayesian_signed_rank(
    differences: Float, rope: float, *, prior: float = 0.5, samples: int = 50_000, seed: int = 0
) -> Superiority:
    """Posterior of patients' differences [patients] above, within and below ±rope (Benavoli et al. 2017).

    Benavoli, Corani, Demšar and Zaffalon, JMLR 18(77), section 4.2: differences have a Dirichlet-process prior of
    strength `prior` at 0 (0.5, as the authors' code has it). Each sample draws weights of that pseudo-patient and the
    patients from Dirichlet(prior, 1, ..., 1); the mean of two differences, each chosen by the weights, lies above,
    within or below the region of practical equivalence with some chance. Returned is the share of samples in which
    each region is the likeliest (ties shared). A mean exactly on the edge counts half to either side.

    `rope` is in units of the score; 0 asks only which is better. Seeds' luck is not in it. Deterministic by `seed`.
    RunError for no patient, numbers that are not finite, a negative rope, or a prior or samples not above 0.
    """
    if np.ndim(differences) != 1 or not len(differences) or not np.isfinite(differences).all():
        raise RunError(f"give the finite differences of patients, not {np.shape(differences)}")
    if not (0 <= rope < np.inf and prior > 0 and samples > 0):
        raise RunError(f"rope {rope}, prior {prior}, samples {samples}: none may be negative, and only rope may be 0")
    known = np.append(0.0, differences)
    means = (known[:, None] + known) / 2  # [P + 1, P + 1]
    above, below = (np.heaviside(side - rope, 0.5) for side in (means, -means))
    rng = np.random.default_rng(seed)
    won = np.zeros(3)
    for start in range(0, samples, CHUNK):
        weights = rng.dirichlet(np.append(prior, np.ones(len(known) - 1)), min(CHUNK, samples - start))  # [n, P + 1]
        better, worse = (((weights @ side) * weights).sum(1) for side in (above, below))
        chances = np.stack([better, 1 - better - worse, worse])  # [3, n]
        winners = np.isclose(chances, chances.max(0), rtol=0, atol=1e-12)
        won += (winners / winners.sum(0)).sum(1)
    return Superiority(*(won / samples).tolist())
