"""How much memory there is, and how much the runs of a study need.

A run's need is learnt from runs of its kind (of its arm): the most memory of its own that one was seen with, and a
quarter more, because validation and scoring come later and need more than the first steps (17% more, measured at
width 16). Memory of its own does not count files that are mapped, such as pixels and libraries: the system shares
them between runs and takes them back when it must. A kind that no run has shown yet is taken to need `ASSUMED`, or
what the hungriest kind does where that is more.
"""

from __future__ import annotations

from pathlib import Path

import psutil

ASSUMED = 2 * 2**30
"""Bytes that a run is taken to need before one of its kind has made a step (`unet`, default recipe: 0.8 GiB)."""
MARGIN = 1.25
RESERVE = 2**29
"""Bytes that stay free when a run is started."""


class Needs:
    """What runs need, by kind, in bytes."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._shown: set[str] = set()

    def saw(self, kind: str, own: int, has_made_steps: bool) -> None:
        """A run of a kind was seen with so much memory of its own."""
        self._seen[kind] = max(own, self._seen.get(kind, 0))
        if has_made_steps:
            self._shown.add(kind)

    def of(self, kind: str) -> int:
        if kind in self._shown:
            return int(MARGIN * self._seen[kind])
        return max(ASSUMED, *(int(MARGIN * own) for own in self._seen.values()), 0)


def own_memory(process: int) -> int:
    """Bytes of memory that a process alone holds, without files that it maps (macOS: with them); 0 where it is gone."""
    try:
        held = psutil.Process(process).memory_info()
    except psutil.Error:
        return 0
    return int(held.rss - getattr(held, "shared", 0))


def available(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new processes can have without swapping: the machine's, or the control group's where it has fewer."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups(groups, root)]))


def _left_in_groups(groups: Path, root: Path) -> list[int]:
    """What each control group with a limit that this process is in has left; both versions of the kernel's interface.

    Files that a group has read and does not use count as left: the kernel drops them first.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:  # no Linux
        return []
    left = []
    for number, controllers, path in lines:
        if number == "0" and not controllers:
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inside = Path(path.lstrip("/"))
        for folder in {base / inside, *(base / above for above in inside.parents), base}:
            try:
                limit, used = ((folder / name).read_text().strip() for name in names[:2])
                rows = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # the root of version 2 has no limit; a container may hide what is above
                continue
            if limit != "max":
                left.append(int(limit) - int(used) + int(rows.get(names[2], 0)))
    return left
