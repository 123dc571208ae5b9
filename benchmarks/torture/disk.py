"""Disks that are full, read-only, somebody else's or broken: a line and a code, and nothing lost once they are well."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.torture.calls import Calls, failing
from benchmarks.torture.kill import unreadable
from benchmarks.torture.outcome import Outcome, spread
from benchmarks.torture.process import Before, Ended, start
from benchmarks.torture.scenes import Scene, prepared, scenes

NOBODY = 65534
# How much of what a command needs is free, in percent.
FREE = (0, 10, 40, 70, 95)
BROKEN = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EACCES": errno.EACCES}
AT_CALLS = 3
PAGE = 4096


def disk(outcome: Outcome, root: Path, small: bool) -> None:
    """Harm the disk under every command that writes."""
    for scene in scenes(root):
        for name, code in BROKEN.items():
            for on in (False, True):
                broken(outcome, scene, name, code, on, 1 if small else AT_CALLS)
        if os.geteuid() == 0:
            for free in FREE[3:4] if small else FREE:
                full(outcome, scene, free)
            read_only(outcome, scene)
            somebody_elses(outcome, scene)


def broken(outcome: Outcome, scene: Scene, name: str, code: int, on: bool, most: int) -> None:
    """Let the system refuse one call, or all from it `on`, those that read too."""
    for number in spread(scene.unharmed[2], most):
        scene.restore()
        done = scene.run(Calls(scene.place, number, failing(code), reads=True, on=on))
        what = f"{scene.name}, {name} at call {number}{' and after' if on else ''}"
        outcome.add(what, refused(done) or unreadable(scene.place) or scene.wrong_after())


def full(outcome: Outcome, scene: Scene, free: int) -> None:
    """Run on a disk of its own with too little room, then on the same with enough."""
    scene.restore()
    scene.run()
    needed, there = size_of(scene.place), size_of(scene.template)
    with_room = max(there, there + (max(0, needed - there) * free) // 100)
    empty(scene)
    try:
        mount(scene, f"size={with_room + 32 * PAGE}")
        shutil.copytree(scene.template, scene.place, dirs_exist_ok=True)
        # What was reckoned is an estimate: the rest is filled up to it.
        stuff(scene.place / ".full", with_room - there)
        done = scene.run()
        wrong = refused(done) or unreadable(scene.place)
        (scene.place / ".full").unlink()
        mount(scene, "remount,size=1g")
        outcome.add(f"{scene.name} with {free}% of the room that it needs", wrong or scene.wrong_after())
    finally:
        empty(scene)


def stuff(path: Path, room: int) -> None:
    """Fill a disk with zeros until so much is free."""
    free = os.statvfs(path.parent).f_bavail * PAGE
    with path.open("wb") as file:
        file.write(bytes(max(0, free - room)))


def read_only(outcome: Outcome, scene: Scene) -> None:
    """Run on a disk that takes nothing."""
    empty(scene)
    try:
        mount(scene, "size=1g")
        shutil.copytree(scene.template, scene.place, dirs_exist_ok=True)
        mount(scene, "remount,ro")
        done = scene.run()
        mount(scene, "remount,rw")
        outcome.add(f"{scene.name} on a read-only disk", refused(done, 4) or scene.wrong_after())
    finally:
        empty(scene)


def somebody_elses(outcome: Outcome, scene: Scene) -> None:
    """Run as a user to whom the folder does not belong."""
    scene.restore()
    done = start(scene.spoken, scene.place, as_nobody(prepared(None))).end()
    outcome.add(f"{scene.name} in somebody else's folder", refused(done, 4) or scene.wrong_after())


def as_nobody(first: Before) -> Before:
    """The same as another user."""

    def before() -> None:
        first()
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    return before


def refused(done: Ended, *codes: int) -> list[str]:
    """What is wrong with how a command ended that met a disk: another code, a traceback, no line or more than one."""
    wrong = done.wrong(*(codes or (0, 3, 4)))
    errors = [line for line in done.err.splitlines() if line.startswith("dsabench: ")]
    return wrong or ([f"it says {errors}"] if done.code and len(errors) != 1 else [])


def size_of(folder: Path) -> int:
    """What the files below a folder take, in whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*") if path.is_file())


def mount(scene: Scene, options: str) -> None:
    """A disk of its own for the scene, in memory."""
    scene.place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(scene.place)], check=True)


def empty(scene: Scene) -> None:
    """Take the disk away again, and what lay there."""
    if os.path.ismount(scene.place):
        subprocess.run(["umount", "--lazy", str(scene.place)], check=True)
    shutil.rmtree(scene.place, ignore_errors=True)
