"""SIGKILL: at the calls that change a file, and whenever it comes; then the same command again, unharmed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.torture.calls import Calls
from benchmarks.torture.outcome import Outcome, spread
from benchmarks.torture.process import descendants, is_alive, run
from benchmarks.torture.scenes import ALONE, COMPARE, Scene, scenes
from dsabench.errors import DsabenchError
from dsabench.files import read_json
from dsabench.tables.rows import read_csv
from dsabench.training.checkpoint import read_checkpoint
from dsabench.training.run import Run

# How many of the calls of each command are met, and how many kills come at random moments.
AT_CALLS = {"pretrain": 40, "resume": 26, "again": 12, "eval": 26, "compare": 16, "tune": 16}
AT_CALLS |= {"export": 8, "features": 8, "report": 8, "remove": 10}
AT_RANDOM = 3
OF_EACH = 5
# A worker that is still importing looks for its parent when it has done so, which on a busy machine takes long.
TEAM_ENDS_S = 120.0


def kill(outcome: Outcome, root: Path, small: bool) -> None:
    """Kill every command that writes; what an unharmed one leaves is what there must be in the end."""
    draw = random.Random(0)
    for scene in scenes(root):
        if small and scene.name not in ("pretrain", "resume", "eval"):
            continue
        _, calls, _, seconds = scene.unharmed
        for number in spread(calls, 2 if small else AT_CALLS[scene.name]):
            scene.restore()
            done = scene.run(Calls(scene.place, number))
            wrong = [] if done.code == -signal.SIGKILL else [f"it was not killed: {done}"]
            outcome.add(f"{scene.name} at call {number}", wrong or unreadable(scene.place) or scene.wrong_after())
        for _ in range(1 if small else AT_RANDOM):
            moment = draw.uniform(0.02, seconds)
            kill_after(scene, moment)
            outcome.add(f"{scene.name} after {moment:.2f} s", unreadable(scene.place) or scene.wrong_after())


def kill_after(scene: Scene, moment: float) -> None:
    """Kill a command at a moment."""
    scene.restore()
    process = scene.start()
    time.sleep(moment)
    process.send(signal.SIGKILL)
    process.end()


def kill_workers(outcome: Outcome, root: Path, small: bool) -> None:
    """Kill the parent of `compare --jobs 2`, one of its workers, or all of them at once."""
    draw = random.Random(1)
    scene = side_by_side(root)
    _, _, _, seconds = scene.unharmed
    victims: dict[str, Callable[[list[int]], list[int]]] = {
        "parent": lambda team: team[:1],
        "worker": lambda team: team[-1:],
        "all": lambda team: team,
    }
    for name, choose in victims.items():
        for _ in range(1 if small else OF_EACH):
            moment = draw.uniform(0.1, seconds)
            scene.restore()
            process = scene.start()
            time.sleep(moment)
            team = [process.pid, *descendants(process.pid)]
            for pid in choose(team):
                end(pid)
            done = process.end()
            outcome.add(f"{name} of compare after {moment:.1f} s", after_team(scene, team, done.err))


def side_by_side(root: Path) -> Scene:
    """A comparison in two processes; its workers start as they do everywhere."""
    return Scene("side by side", (*COMPARE, "--jobs", "2"), root)


def after_team(scene: Scene, team: list[int], err: str) -> list[str]:
    """What is wrong after a command with workers has ended: one that lives on, a traceback, other results."""
    until = time.monotonic() + TEAM_ENDS_S
    while any(map(is_alive, team[1:])) and time.monotonic() < until:
        time.sleep(0.05)
    wrong = [f"process {pid} lives on" for pid in team[1:] if is_alive(pid)]
    wrong += ["a traceback"] if "Traceback" in err else []
    # The rows are the same in one process, and that is sooner done.
    done = run(scene.said((*COMPARE, *ALONE)), scene.place)
    return wrong or unreadable(scene.place) or done.wrong(0) or scene.wrong_after(again=False)


def end(pid: int) -> None:
    """Kill a process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def unreadable(folder: Path) -> list[str]:
    """The files below a folder that bear their name and are not whole; temporary ones have no name yet."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.name == "run.json":
                newest = Run.load(path.parent).checkpoint
                if newest is not None and not newest.exists():
                    wrong.append(f"{path} names {newest.name}, which is not there")
            elif path.suffix == ".json":
                read_json(path)
            elif path.parent.name == "checkpoints":
                read_checkpoint(path)
            elif path.suffix == ".csv" and path.read_text().startswith("schema_version,run_id"):
                read_csv(path)
        except (DsabenchError, OSError) as error:
            wrong.append(str(error))
    return wrong
