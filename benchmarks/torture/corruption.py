"""Every file of a store, cut short and with one bit flipped: it is named, or no row changes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import Ended, run
from benchmarks.torture.scenes import ALONE, COMPARE, TUNE

FLIPS = 1000
EVAL = ("--probe", "knn", "--probe", "cdnv")
# What a reader makes of the store: the rows that must not change.
TABLES = ("t.csv", "t-fewshot.csv", "out/c.csv", "out/tuned-trials.csv", "out/tuned.toml")
# Most of a safetensors file is numbers, and its head is as likely to be harmed as they are.
HEAD = 4096


def corruption(outcome: Outcome, root: Path, small: bool) -> None:
    """Damage the files of a store one at a time, and read all that is in it."""
    draw = random.Random(2)
    place, template = root / "place", root / "template"
    template.mkdir()
    firsts: list[tuple[str, ...]] = [(*COMPARE, *ALONE), TUNE]
    for words in firsts:
        made(words, template)
    folder = next(template.glob("runs/synthetic/simclr+dsa/*"))
    files = sorted((path.relative_to(template) for path in stored(template, folder)), key=lambda file: file.name)
    share = 1 if small else -(-FLIPS // len(files))
    for file in files:
        # What the reader of this file makes of an undamaged store.
        made(reader(template / file, folder), template)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        original = (template / file).read_bytes()
        for name, content in harms(original, share, draw):
            (place / file).write_bytes(content)
            done = run(reader(template / file, folder), place)
            outcome.add(f"{file} {name}", unnoticed(done, place, template, file))
            for changed in (file.parent, *{Path(table).parent for table in TABLES}):
                restore(place / changed, template / changed)


def made(words: tuple[str, ...], template: Path) -> None:
    """Run a command that nothing harms."""
    done = run(words, template)
    if done.code:
        raise RuntimeError(f"{words}: {done}")


def stored(template: Path, folder: Path) -> Iterator[Path]:
    """The files of one run, and what the store holds beside its runs."""
    for path in [*folder.rglob("*"), *template.glob("runs/declarations/*"), *template.glob("runs/tuning/*.log")]:
        if path.is_file() and not path.name.startswith(".claim-"):
            yield path


def reader(path: Path, folder: Path) -> tuple[str, ...]:
    """The command that reads a file of a store."""
    if path.parent.name == "declarations":
        return (*COMPARE, *ALONE)
    if path.parent.name == "tuning":
        return TUNE
    if path.name == "config.toml":
        return ("pretrain", "--config", str(path.relative_to(folder.parents[3])), "--dry-run", "--json")
    more: tuple[str, ...] = ("--output", "t.csv")
    if path.name.startswith("answers-fewshot"):
        more = ("--probe", "fewshot", "--output", "t-fewshot.csv")
    return ("eval", str(folder.relative_to(folder.parents[3])), *EVAL, *more)


def harms(original: bytes, flips: int, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """The file cut short in four places, and with so many of its bits flipped, one at a time."""
    for length in sorted({0, 1, len(original) // 2, len(original) - 1}):
        yield f"cut to {length} bytes", original[:length]
    for number in range(flips):
        most = min(len(original), HEAD) if number % 2 else len(original)
        place, bit = draw.randrange(most), draw.randrange(8)
        content = bytearray(original)
        content[place] ^= 1 << bit
        yield f"with bit {bit} of byte {place} flipped", bytes(content)


def unnoticed(done: Ended, place: Path, template: Path, file: Path) -> list[str]:
    """What is wrong: a defect, an error that does not name the file, or rows that changed without a word."""
    if wrong := done.wrong():
        return wrong
    if done.code:
        named = file.name in done.err or str(file.parent) in done.err
        return [] if named else [f"exit code {done.code} without its name: {done.err.strip()[-200:]}"]
    changed = [table for table in TABLES if (template / table).exists() and other(place / table, template / table)]
    return [f"{table} changed without a word" for table in changed]


def other(ours: Path, theirs: Path) -> bool:
    """Whether a table is another one; one that was not written is."""
    return not ours.exists() or ours.read_bytes() != theirs.read_bytes()


def restore(ours: Path, theirs: Path) -> None:
    """Make a folder what it was, without the folders in it."""
    kept = {path.name for path in theirs.iterdir()}
    for path in ours.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in theirs.iterdir():
        if path.is_file():
            shutil.copy2(path, ours / path.name)
        elif not (ours / path.name).exists():
            shutil.copytree(path, ours / path.name)
