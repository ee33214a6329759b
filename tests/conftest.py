"""What all tests share: a cache of their own, real data where there is some, folders of ROIs, pixels in memory."""

from __future__ import annotations

import os
import shutil
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: see ushape.threads

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from ushape.data.rois import Pixels, Roi
from ushape.files import cache_folder

Bytes = NDArray[np.uint8]
Run = Callable[..., SimpleNamespace]
WriteRois = Callable[..., Path]
MakePixels = Callable[..., Pixels]

# The same examples in every run, so that a failure is never a matter of luck; no limit of time on a busy machine.
settings.register_profile("ushape", deadline=None, derandomize=True, database=None)
settings.load_profile("ushape")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache in a temporary folder; processes that tests start inherit it.

    Costs of networks that were counted before (`make setup` does), under keys of the code that counts, are taken over.
    """
    folder = tmp_path_factory.mktemp("cache")
    if (counted := cache_folder() / "costs").exists():
        shutil.copytree(counted, folder / "costs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USHAPE_CACHE", str(folder))
        yield folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process: its exit code, and what it wrote to stdout and stderr."""
    from ushape.cli import main

    def go(*words: object) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        written = capsys.readouterr()
        return SimpleNamespace(code=caught.value.code, out=written.out, err=written.err)

    kept = signal.getsignal(signal.SIGTERM)
    yield go
    signal.signal(signal.SIGTERM, kept)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: $USHAPE_DATA, else ../shared/data beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("USHAPE_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist; set USHAPE_DATA to the folder that holds bcss-seed10/")
    return folder


@pytest.fixture(scope="session")
def write_rois() -> WriteRois:
    """write_rois(folder, {name: (rgb [H, W, 3], codes [H, W])}) writes the BCSS layout and gives the folder."""

    def write(folder: Path, rois: Mapping[str, tuple[Bytes, Bytes]], suffix: str = ".png", **options: Any) -> Path:
        for name, arrays in rois.items():
            for part, array in zip(("rgbs_colorNormalized", "masks"), arrays, strict=True):
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / part / f"{name}{suffix}", **options)
        return folder

    return write


@pytest.fixture(scope="session")
def make_pixels() -> MakePixels:
    """make_pixels(codes, name, image=None): a ROI that was never on disk; without an image, a grey one."""

    def make(codes: Bytes, name: str = "TCGA-A1-A0SK-DX1", image: Bytes | None = None) -> Pixels:
        roi = Roi(name, Path(f"rgbs_colorNormalized/{name}.png"), Path(f"masks/{name}.png"), 1.2)
        return Pixels(roi, np.full((*codes.shape, 3), 128, np.uint8) if image is None else image, codes)

    return make


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Any:
    """A disk that grows: `tiny_disk(kilobytes)` sets its size; skipped where nobody may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")

    def resize(kilobytes: int) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)
        return folder

    yield resize
    subprocess.run(["umount", folder], check=True)
