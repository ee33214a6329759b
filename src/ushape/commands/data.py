"""`ushape data phantom` and `ushape data check`."""

from __future__ import annotations

import argparse

from ushape.commands.shared import Bar, check_mpp, say


def phantom(options: argparse.Namespace) -> None:
    """Write the procedural tissue."""
    from ushape.data.phantom import write_phantom

    with Bar("ROIs", options.patients) as advance:
        written = write_phantom(
            options.folder,
            options.patients,
            options.seed,
            options.size,
            options.mpp,
            progress=lambda _: advance(),
        )
    say(f"wrote {len(written)} ROIs of {options.patients} patients to {options.folder}")


def check(options: argparse.Namespace) -> int:
    """List what is wrong with a folder."""
    from ushape.data.check import Inventory, check_folder
    from ushape.data.classes import grouping
    from ushape.data.rois import image_files, image_folder

    inventory, findings = Inventory(), 0
    for finding in check_folder(options.folder, options.mpp, inventory):
        findings += 1
        print(f"{finding.about}: {finding.problem}")
    if not findings:
        check_mpp(options.mpp, image_files(image_folder(options.folder)))
    groups = grouping(options.grouping)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in inventory.shares(groups).items())
    print(f"{inventory.images} ROIs of {inventory.patients} patients; {groups.id}: {shares or 'no pixel counts'}")
    print(f"{findings} problems" if findings else "no problem found")
    return 2 if findings else 0
