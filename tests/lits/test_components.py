"""Components slice by slice are those of the whole volume."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label, maximum

from ushape.lits.components import Components


@given(st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 9)), st.floats(0.05, 0.9), st.integers(0, 999))
def test_slices_give_what_the_whole_volume_gives(shape: tuple[int, ...], filled: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask, values = rng.random(shape) < filled, rng.random(shape).astype(np.float32)
    components = Components()
    for z in range(shape[0]):
        components.add(mask[z], values[z])
    ours = np.stack([components.slice(z, mask[z]) for z in range(shape[0])])
    whole, count = label(mask)
    assert ((ours >= 0) == mask).all()
    pairs = set(zip(whole[mask].tolist(), ours[mask].tolist(), strict=True))
    assert len(pairs) == count == len(components.sizes())  # one number of ours for each of theirs, and the other way
    for theirs, mine in pairs:
        assert components.sizes()[mine] == (whole == theirs).sum()
        assert components.most()[mine] == maximum(values, whole, theirs)
    if count:
        assert components.sizes()[components.largest()] == np.bincount(whole[mask]).max()
    else:
        assert components.largest() is None


def test_two_arms_that_meet_in_the_last_slice_are_one() -> None:
    mask = np.zeros((3, 3, 5), bool)
    mask[:, 1, 0] = mask[:, 1, 4] = True
    mask[2, 1] = True
    components = Components()
    for each in mask:
        components.add(each)
    assert list(components.sizes().values()) == [9]
    assert components.slice(0, mask[0])[1, 0] == components.slice(0, mask[0])[1, 4]
