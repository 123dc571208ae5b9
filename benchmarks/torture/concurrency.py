"""Many at once: eight writers of one table, eight searches with one journal, every two commands on one store."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

from optuna.distributions import FloatDistribution

from benchmarks.torture.fingerprint import differences
from benchmarks.torture.kill import unreadable
from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import run, start, start_call
from benchmarks.torture.scenes import ALONE, COMPARE, PRETRAIN, RUN, TUNE, Scene
from dsabench.launch.journal import Journal
from dsabench.tables.rows import read_csv, write_csv
from dsabench.tables.trials import Trial

WRITERS, ROWS = 8, 250
TIMES, TRIALS = 12, 10

# Two of these, at once, on a store with one finished run and its comparison.
VERBS: dict[str, tuple[str, ...]] = {
    "pretrain": (*PRETRAIN, "--seed", "1"),
    "again": (*PRETRAIN, "--overwrite", "always"),
    "eval": ("eval", RUN, "--probe", "knn", "--layer", "projector", "--output", "t.csv"),
    "compare": (*COMPARE, *ALONE),
    "tune": TUNE,
    "export": ("export", RUN, "--to", "b.safetensors"),
    "features": ("features", RUN, "--output", "f.npz"),
    "report": ("report", "out/c.csv", "--from", "runs"),
    "show": ("show", RUN),
    "list": ("list", "runs", "--json"),
    "theory": ("theory", RUN),
    "remove": ("remove", RUN, "--yes"),
}


def concurrency(outcome: Outcome, root: Path, small: bool) -> None:
    """Let many write at once."""
    one_table(outcome, root / "table", 2 if small else TIMES)
    one_journal(outcome, root / "journal", 2 if small else TRIALS)
    verbs = ("pretrain", "eval") if small else tuple(VERBS)
    scene = Scene("pairs", (), root, (PRETRAIN, (*COMPARE, *ALONE)))
    for one, other in itertools.combinations_with_replacement(verbs, 2):
        two(outcome, scene, one, other)


def one_table(outcome: Outcome, folder: Path, times: int) -> None:
    """Eight processes write 250 rows each to one name, over and over: who reads finds those of one of them, whole."""
    folder.mkdir()
    scene = Scene("rows", ("eval", RUN, "--probe", "knn", "--output", "t.csv"), folder, (PRETRAIN,))
    path = folder / "t.csv"
    scene.restore()
    scene.run()
    row = read_csv(scene.place / "t.csv")[0]
    tables = [[replace(row, seed=writer, n=number) for number in range(ROWS)] for writer in range(WRITERS)]

    def writer(number: int) -> int:
        for _ in range(times):
            write_csv(tables[number], path)
            if read_csv(path) not in tables:
                return 1
        return 0

    team = [start_call(lambda number=number: writer(number), folder) for number in range(WRITERS)]  # type: ignore[misc]
    for number, process in enumerate(team):
        outcome.add(f"writer {number} of {WRITERS}, {ROWS} rows {times} times", process.end().wrong(0))
    left = sorted(name for name in os.listdir(folder) if "tmp" in name)
    whole = read_csv(path) in tables
    outcome.add("the table that they leave", ([] if whole else ["mixed"]) + ([f"left: {left}"] if left else []))


def one_journal(outcome: Outcome, folder: Path, trials: int) -> None:
    """Eight processes add trials to one journal: each number once, in order."""
    folder.mkdir()
    path, space = folder / "x.log", {"lr": FloatDistribution(0.0, 1.0)}

    def writer(number: int) -> int:
        journal = Journal(path, "x")
        for _ in range(trials):
            count = len(journal.trials())
            options = {"lr": number / 10}
            journal.add(Trial(count, "drawn", "simclr", options, (0.5,), ("0" * 12,), 1.0, "ok"), space)
        return 0

    team = [start_call(lambda number=number: writer(number), folder) for number in range(WRITERS)]  # type: ignore[misc]
    for number, process in enumerate(team):
        outcome.add(f"search {number} of {WRITERS}", process.end().wrong(0))
    found = [trial.number for trial in Journal(path, "x").trials()]
    wrong = [] if found == list(range(len(found))) and len(found) >= trials else [f"trials {found}"]
    outcome.add("the journal that they leave", wrong)


def two(outcome: Outcome, scene: Scene, one: str, other: str) -> None:
    """Two commands at once: both end as they may, and then the store is what the two leave one after the other."""
    pair = [scene.said(VERBS[one]), scene.said(VERBS[other])]
    scene.restore()
    expected = [run(words, scene.place) for words in pair]
    after = files(scene.place)
    scene.restore()
    team = [start(words, scene.place) for words in pair]
    wrong: list[str] = []
    for process, alone, name in zip(team, expected, (one, other), strict=True):
        done = process.end()
        # Who finds its run deleted, or being trained again, says so.
        codes = (0, 3, 4, 5) if {"remove", "again"} & {one, other} else (alone.code,)
        wrong += [f"{name}: {what}" for what in done.wrong(*codes)]
    wrong = wrong or unreadable(scene.place)
    if not {"remove", "again"} & {one, other}:
        wrong += differences(dict.fromkeys(files(scene.place), ""), dict.fromkeys(after, ""))
    listed = run(("list", "runs", "--json"), scene.place)
    wrong += listed.wrong(0) + (["the store has a damaged run"] if "warning" in listed.err else [])
    wrong += [] if listed.code or isinstance(json.loads(listed.out), list) else ["list is no list"]
    outcome.add(f"{one} and {other} at once", wrong)


def files(folder: Path) -> set[str]:
    """The names of all files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)) for path in found if not path.name.startswith((".claim-", ".clock"))}
