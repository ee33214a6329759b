"""What teachers make of the images that a run learns from: their mean probabilities, computed once, kept in the cache.

A network that learns the mean of several comes near to all of them together (Hinton et al. 2015, arXiv:1503.02531,
section 1); on images without masks that mean stands for the labels (Lee 2013, pseudo-labels; soft here, as in Xie et
al. 2020, arXiv:1911.04252). Images are predicted whole, not crop by crop, with the recipe's test-time augmentation
and smoothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ushape.data.augment import Bytes
from ushape.data.images import kept_together
from ushape.files import cache_folder, content_hash
from ushape.nets.device import pick_precision
from ushape.nets.weights import load_weights
from ushape.predict.engine import Predictor
from ushape.predict.ensemble import Ensemble
from ushape.threads import Lanes
from ushape.train.recipe import Recipe
from ushape.versions import ROOMS, code_once


class Teachers:
    """The networks of some files of weights. `classes`: how many they tell apart."""

    def __init__(self, files: Sequence[Path], recipe: Recipe, classes: int, lanes: Lanes, device: torch.device) -> None:
        self.files, self.recipe, self.classes, self.lanes, self.device = files, recipe, classes, lanes, device
        self.precision = pick_precision(recipe.precision, device)

    def maps(self, images: Sequence[Bytes]) -> list[Bytes]:
        """For RGB images uint8 [H, W, 3] the mean probabilities uint8 [H, W, classes], 255 for 1, memory-mapped.

        Those of one call lie in one file of the cache, under the hashes of weights, images and what computes.
        """

        def make() -> Bytes:
            return np.concatenate([self._mean(image).reshape(-1, self.classes) for image in images])

        return kept_together(self._cache_file(images), make, [(image.shape[0], image.shape[1]) for image in images])

    def _mean(self, image: Bytes) -> Bytes:
        return np.rint(np.moveaxis(self._ensemble.probabilities(image) * 255, 0, -1)).astype(np.uint8)

    @cached_property
    def _ensemble(self) -> Ensemble:
        """Loaded when the cache does not have something: a run that goes on needs none."""
        nets = [load_weights(file).net for file in self.files]
        how = self.device, self.precision, self.lanes, self.recipe.tta, self.recipe.guided
        return Ensemble([Predictor(net, *how) for net in nets])

    def _cache_file(self, images: Sequence[Bytes]) -> Path:
        made_by = [code_once(*ROOMS), torch.__version__, self.precision, self.device.type]
        told = [*made_by, self.recipe.tta, str(self.recipe.guided)]
        digest = hashlib.sha256("\0".join([*told, *(content_hash(file) for file in self.files)]).encode())
        for image in images:
            digest.update(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        return cache_folder() / f"{digest.hexdigest()[:24]}-taught.npy"
