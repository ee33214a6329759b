"""How much memory a large CT volume needs in prediction: a computed volume, a trained cascade, the peak measured.

    python benchmarks/lits_memory.py RUN FOLDER [--size 512] [--slices 600]

Writes FOLDER/volume-0.nii (once) and prints the resident memory with both networks loaded, and at its peak.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ushape.files import replacing
from ushape.lits.cascade import Cascade
from ushape.lits.phantom.anatomy import draw_anatomy
from ushape.lits.phantom.scanner import affine, draw_scan, take
from ushape.lits.volumes import nibabel_module, open_volume
from ushape.threads import Lanes


def write_volume(path: Path, size: int, slices: int) -> None:
    """A volume of `slices` slices of 1 mm, streamed to the file."""
    rng = np.random.default_rng(0)
    anatomy, scan = draw_anatomy(rng), draw_scan(rng, size, 400 / size)
    scan = replace(scan, slices=slices, thickness=1.0, order=(0, 1, 2), flips=(False, False, False))
    header = nibabel_module().Nifti1Header()
    header.set_data_shape((size, size, slices))
    header.set_data_dtype(np.int16)
    header.set_sform(affine(scan), 1)
    header.set_zooms((scan.pixel, scan.pixel, 1.0))
    header.set_xyzt_units("mm")
    header["magic"] = b"n+1"
    header.set_data_offset(352)
    with replacing(path) as temporary, temporary.open("wb") as file:
        header.write_to(file)
        file.write(bytes(352 - file.tell()))
        for z in range(slices):
            file.write(take(anatomy, scan, z, rng)[0].tobytes())  # [y, x] in C order is [x, y] in the file's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=600)
    options = parser.parse_args()
    path = options.folder / "volume-0.nii"
    if not path.exists():
        write_volume(path, options.size, options.slices)
        print(f"wrote {path}: start again to measure, so that writing does not count")
        return
    with Lanes(1) as lanes:
        cascade = Cascade(options.run, torch.device("cpu"), lanes)
        before, start = _peak(), time.process_time()
        cascade.predict(path, options.folder / "labels.nii")
        peak, seconds = _peak(), time.process_time() - start
    labels = open_volume(options.folder / "labels.nii").raw
    found = ", ".join(f"{name} {int((labels == i).sum())}" for i, name in enumerate(("background", "liver", "lesion")))
    print(f"{'x'.join(map(str, labels.shape))} voxels ({found}), {seconds:.0f} s on one core")
    print(
        f"resident: {before:.0f} MB with both networks loaded, {peak:.0f} MB at the peak, {peak - before:.0f} MB more"
    )


def _peak() -> float:
    """The largest resident memory of this process so far in MB, mapped pages of files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
