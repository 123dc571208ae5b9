"""What commands are harmed: each with the folder that it begins in, and what it leaves where nobody harms it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.torture.calls import Calls
from benchmarks.torture.fingerprint import Fingerprint, differences, fingerprint
from benchmarks.torture.process import Before, Ended, Running, run, start

TINY = (
    *("--dataset", "synthetic", "--backbone", "resnet8w16", "--image-size", "8", "--epochs", "2"),
    *("--batch-size", "64", "--device", "cpu"),
)
PRETRAIN = ("pretrain", *TINY, "--method", "simclr+dsa")
# Stands for the id of the run that a scene begins with.
RUN = "RUN"
COMPARE = ("compare", "simclr", "simclr+dsa", *TINY, "--seeds", "0", "--probe", "knn", "--output", "out/c")
ALONE = ("--jobs", "1")
TUNE = ("tune", "simclr", *TINY, "--trials", "2", "--seeds", "20", "--output", "out/tuned", *ALONE)


def save_every_step() -> None:
    """Write a checkpoint after every step: most of a run is then inside a write."""
    from dsabench.training import loop

    loop.CHECKPOINT_S = 0.0


@dataclass
class Scene:
    """A command, its folder below `root`, and the commands that make what it begins with."""

    name: str
    words: tuple[str, ...]
    root: Path
    first: tuple[tuple[str, ...], ...] = ()
    cut_at: int = 0
    """The last of `first` is killed at this call, so that there is something to resume."""

    @property
    def verb(self) -> str:
        """The command's name."""
        return self.words[0]

    @property
    def place(self) -> Path:
        """Where it runs; always the same path, for tables name paths."""
        return self.root / self.name / "place"

    @cached_property
    def template(self) -> Path:
        """A folder as it is before the command."""
        folder = self.root / self.name / "template"
        folder.mkdir(parents=True)
        for words in self.first:
            cut = Calls(folder, self.cut_at) if words is self.first[-1] and self.cut_at else None
            done = run(words, folder, prepared(cut))
            if done.code not in (0, -9 if cut else 0):
                raise RuntimeError(f"{words}: {done}")
        return folder

    def said(self, words: tuple[str, ...]) -> list[str]:
        """These words, with the id of the first run that is there."""
        runs = sorted(self.template.glob("runs/*/*/*/run.json"))
        return [runs[0].parent.name.rpartition("-")[2] if word == RUN else word for word in words]

    @property
    def spoken(self) -> list[str]:
        """Its own words, as they are said."""
        return self.said(self.words)

    def restore(self) -> None:
        """Put the folder back to what it was."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def start(self, calls: Calls | None = None) -> Running:
        """Start the command, with `calls` of it counted or harmed."""
        return start(self.spoken, self.place, prepared(calls))

    def run(self, calls: Calls | None = None) -> Ended:
        """Run it to its end."""
        return self.start(calls).end()

    @cached_property
    def unharmed(self) -> tuple[Fingerprint, int, int, float]:
        """What the command leaves, how many calls change something, how many there are, and how long it takes."""
        counts = []
        for reads in (False, True):
            self.restore()
            calls = Calls(self.place, reads=reads)
            done = self.run(calls)
            if done.code:
                raise RuntimeError(f"{self.words}: {done}")
            counts.append(calls.count)
        return fingerprint(self.place), counts[0], counts[1], done.seconds

    def wrong_after(self, again: bool = True) -> list[str]:
        """What is other than it should be once the same command has run (`again`) on what the harm left."""
        expected = self.unharmed[0]
        if again:
            done = self.run()
            # What was deleted before the harm came cannot be found again.
            gone = self.verb == "remove" and done.code == 3
            if not gone and (wrong := done.wrong(0)):
                return wrong
        return differences(fingerprint(self.place), expected)


def prepared(calls: Calls | None) -> Before:
    """What is done in the child first."""

    def before() -> None:
        save_every_step()
        if calls is not None:
            calls.install()

    return before


def scenes(root: Path) -> list[Scene]:
    """All commands that write."""
    finished, compared = (PRETRAIN,), ((*COMPARE, *ALONE),)
    found = (*("eval", "--runs", "runs", "--probe", "knn", "--probe", "crowding"), "--per-class", "--output", "t.csv")
    return [
        Scene("pretrain", PRETRAIN, root),
        Scene("resume", PRETRAIN, root, finished, cut_at=70),
        Scene("again", (*PRETRAIN, "--overwrite", "always"), root, finished),
        Scene("eval", found, root, finished),
        Scene("compare", (*COMPARE, *ALONE), root),
        Scene("tune", TUNE, root),
        Scene("export", ("export", RUN, "--to", "b.safetensors"), root, finished),
        Scene("features", ("features", RUN, "--output", "f.npz"), root, finished),
        Scene("report", ("report", "out/c.csv", "--from", "runs", "--markdown", "--csv"), root, compared),
        Scene("remove", ("remove", RUN, "--yes"), root, finished),
    ]
