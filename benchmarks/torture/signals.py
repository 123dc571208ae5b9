"""Signals, once and twice, to a command, to one of its workers, to all of them: work is saved, and all of it ends."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from benchmarks.torture.kill import after_team, side_by_side, unreadable
from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import Before, descendants, start
from benchmarks.torture.scenes import Scene, prepared, scenes
from dsabench.signals import EXIT_CODES

HARMED = ("pretrain", "resume", "eval", "tune")


def signals(outcome: Outcome, root: Path, small: bool) -> None:
    """Send every signal that a command answers, at random moments."""
    draw = random.Random(3)
    for scene in scenes(root):
        if scene.name not in HARMED[: 1 if small else None]:
            continue
        for number in EXIT_CODES:
            for times in (1, 2):
                alone(outcome, scene, number, times, draw.uniform(0.0, scene.unharmed[3]))
    team = side_by_side(root)
    for number in list(EXIT_CODES)[: 1 if small else None]:
        for times in (1, 2):
            for target in ("parent", "worker", "group"):
                together(outcome, team, number, times, target, draw.uniform(0.1, team.unharmed[3]))


def alone(outcome: Outcome, scene: Scene, number: signal.Signals, times: int, moment: float) -> None:
    """Signal one process."""
    scene.restore()
    process = start(scene.spoken, scene.place, listening())
    listens(process.pid, number)
    time.sleep(moment)
    for _ in range(times):
        process.send(number)
        time.sleep(0.05)
    done = process.end()
    # It may have been done before the signal came.
    wrong = done.wrong(EXIT_CODES[number], 0) or unreadable(scene.place) or scene.wrong_after()
    outcome.add(f"{number.name} {times}x to {scene.name} after {moment:.2f} s", wrong)


def together(outcome: Outcome, scene: Scene, number: signal.Signals, times: int, target: str, moment: float) -> None:
    """Signal the parent of a comparison, one of its workers, or the group of both."""
    scene.restore()
    process = start(scene.spoken, scene.place, listening())
    listens(process.pid, number)
    time.sleep(moment)
    team = [process.pid, *descendants(process.pid)]
    for _ in range(times):
        if target == "worker":
            try:
                os.kill(team[-1], number)
            except ProcessLookupError:
                break
        else:
            process.send(number, group=target == "group")
        time.sleep(0.05)
    done = process.end()
    # A worker that is told to stop, or dies of it, ends the command with its code, or as a run that failed.
    wrong = done.wrong(EXIT_CODES[number], 0, 1)
    outcome.add(
        f"{number.name} {times}x to the {target} of compare after {moment:.1f} s",
        wrong or after_team(scene, team, done.err),
    )


def listening() -> Before:
    """Begin with the signals as they are by default, whatever this process was told to ignore."""
    first = prepared(None)

    def before() -> None:
        first()
        for number in EXIT_CODES:
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)

    return before


def listens(pid: int, number: signal.Signals, patience: float = 30.0) -> None:
    """Wait until a process takes a signal itself: before that the system's rules hold."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.002)
