"""Drawn command lines and files: no traceback, no defect, a code of the list, within bounds of time and memory.

Nothing is trained and no process is started: what would do so raises RunFailed.
"""

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from command import TINY, Result, dsabench
from harm import JSON, LISTED, changed_json, damaged, replace, tried
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from dsabench.cli import UNEXPECTED
from dsabench.config.spec import format_value, parse_part, parse_spec
from dsabench.errors import DsabenchError, RunFailed
from dsabench.files import read_json
from dsabench.methods import METHODS
from dsabench.registry import Scalar
from dsabench.regularizers import REGULARIZERS
from dsabench.tables.answers import read_answers
from dsabench.tables.rows import read_csv
from dsabench.training.checkpoint import read_checkpoint

MOST_S, MOST_BYTES = 30.0, 2**30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a store of one finished run, its table, and a file of flags."""
    folder = tmp_path_factory.mktemp("fuzz")
    with chdir(folder):
        done = dsabench("pretrain", *TINY, "--method", "simclr+dsa", "-q")
        assert done.code == 0, done.err
        done = dsabench("eval", "--probe", "knn", "--output", "table.csv")
        assert done.code == 0, done.err
        shutil.copy(next(folder.glob("runs/*/*/*/config.toml")), "flags.toml")

    def refuse(*_: object, **__: object) -> Any:
        raise RunFailed("nothing is trained here")

    with (
        patch("dsabench.launch.work.fit", refuse),
        patch("dsabench.launch.jobs.side_by_side", refuse),
        patch("urllib.request.urlopen", refuse),
    ):
        yield folder


def sound(result: Result, began: float, before: int) -> None:
    """A command ended as it should, soon, and without much memory."""
    assert result.code in LISTED, result
    assert "Traceback" not in result.err, result
    assert UNEXPECTED not in result.err, result
    assert time.monotonic() - began < MOST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES


def run(words: list[str], place: Path) -> Result:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with chdir(place):
        result = dsabench(*words)
    sound(result, began, before)
    return result


STRANGE = st.sampled_from(
    [
        *("", " ", "-", "--", "-1", "0", "1", "3", "1e400", "nan", "inf", "9" * 25, "1" * 4400, "x" * 300),
        *("../../x", "/", ".", "~", "\0", "\n", "a\nb", "\u202egnp.exe", "=cmd()", "\udcff", "é", "[", "]", "[]", "%s"),
        *("simclr", "simclr+dsa", "byol[", "simclr+", "+dsa", "simclr[temperature=0.2]+dsa[lambda1=2]", "knn[k=5]"),
        *("table.csv", "flags.toml", "runs", "digits", "synthetic", "imagefolder", "resnet8w16", "cpu", "on", "0-5"),
        *("backbone", "smooth[k=20]", "pixels", "test", "val", "cdnv", "never", "always", "random", "/dev/null"),
    ]
)
VALUE = STRANGE | st.text(max_size=12) | st.integers().map(str) | st.floats().map(str)
FLAG = st.sampled_from(
    [
        *("--method", "--seed", "--seeds", "--dataset", "--data-dir", "--data-name", "--train-images", "--subset"),
        *("--set", "--image-size", "--backbone", "--epochs", "--batch-size", "--augment", "--device", "--precision"),
        *("--threads", "--probe", "--split", "--layer", "--primary", "--guard", "--margin", "--smallest-effect"),
        *("--config", "--runs", "--overwrite", "--output", "--jobs", "--tuning", "--trials", "--space", "--select"),
        *("--compare-seeds", "--nonsense"),
    ]
)
SWITCH = st.sampled_from(
    ["--json", "-q", "-v", "--dry-run", "--offline", "--deterministic", "--help", "--all", "--version", "--pairs"]
)
COMMAND = st.sampled_from(["pretrain", "eval", "compare", "tune", "list", "show", "open", "remove", "doctor", "", "x"])


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Mostly sensible words with nonsense among them; data and device are small unless something else is drawn."""
    command = draw(COMMAND)
    words = [command]
    if command in ("compare", "tune"):
        words += ["simclr", "simclr+dsa"]
    if command in ("pretrain", "compare", "tune"):
        words += TINY
    words += draw(st.lists(VALUE, max_size=2))
    for pair in draw(st.lists(st.tuples(FLAG, VALUE), max_size=4)):
        words += pair
    return [*words, *draw(st.lists(SWITCH, max_size=2)), "--offline"][: draw(st.integers(1, 40))]


@tried(5000, 120)
@given(command_lines())
def test_drawn_command_lines(place: Path, words: list[str]) -> None:
    run(words, place)


@tried(500, 40)
@given(st.data())
def test_drawn_flag_files(place: Path, data: st.DataObject) -> None:
    text = (place / "flags.toml").read_text()
    bad = data.draw(damaged(text.encode()) | damaged(text.encode()).flatmap(damaged) | st.binary(max_size=60))
    replace(place / "drawn.toml", bad)
    run(["pretrain", "--config", "drawn.toml", "--dry-run", "--image-size", "8", "--offline"], place)


@tried(500, 300)
@given(
    st.text(alphabet="simclrdsa+[]=,.0123456789e- \t\0é", max_size=30)
    | st.text(max_size=20)
    | st.sampled_from(["simclr[temperature=0.2]+dsa[lambda1=2]"]).flatmap(
        lambda text: damaged(text.encode()).map(lambda data: data.decode(errors="replace"))
    )
)
def test_drawn_specs(text: str) -> None:
    for parse in (parse_spec, parse_part):
        try:
            spec = parse(text)
        except DsabenchError:
            continue
        assert parse(str(spec)) == spec


VALUES: st.SearchStrategy[Scalar] = st.sampled_from(
    [0, -1, 1, 2, 3, 0.5, 2**53 - 1, 1e300, -1e300, 1e-300, True, False, "x"]
)


@tried(500, 40)
@given(st.sampled_from(sorted(METHODS)), st.sampled_from(sorted(REGULARIZERS)), st.data())
def test_drawn_options(place: Path, method: str, regularizer: str, data: st.DataObject) -> None:
    from dsabench.config.plan import half_options

    halves = []
    for half, name in (("method", method), ("regularizer", regularizer)):
        known = sorted(half_options(half, name))
        options = data.draw(st.dictionaries(st.sampled_from(known), VALUES, max_size=2)) if known else {}
        inside = ",".join(f"{key}={format_value(value)}" for key, value in options.items())
        halves.append(f"{name}[{inside}]" if inside else name)
    run(["pretrain", *TINY, "--method", "+".join(halves), "--dry-run", "--offline"], place)


def assert_named(read: Callable[[Path], object], path: Path) -> None:
    """A file is read, or refused by its name."""
    said = ""
    try:
        read(path)
    except DsabenchError as error:
        said = str(error)
    assert not said or str(path) in said


@tried(500, 60)
@given(st.data())
def test_drawn_tables(place: Path, data: st.DataObject) -> None:
    original = (place / "table.csv").read_bytes()
    replace(
        place / "drawn.csv", data.draw(damaged(original) | damaged(original).flatmap(damaged) | st.binary(max_size=40))
    )
    assert_named(read_csv, place / "drawn.csv")


@tried(500, 100)
@given(st.data())
def test_drawn_json(place: Path, data: st.DataObject) -> None:
    text = json.dumps({"a": [1, {"b": "c"}], "d": None})
    drawn = data.draw(
        st.one_of(changed_json(text), damaged(text.encode()), JSON.map(json.dumps), st.binary(max_size=40))
    )
    replace(place / "drawn.json", drawn)
    assert_named(read_json, place / "drawn.json")


@tried(500, 60)
@given(st.data())
def test_drawn_safetensors(place: Path, data: st.DataObject) -> None:
    about = {"dsabench": json.dumps({"probe": "knn", "params": [], "scores": [], "step": 1})}
    original = save({"y": torch.arange(4), "x": torch.ones(4, 2)}, metadata=about)
    header = 8 + int.from_bytes(original[:8], "little")
    drawn = damaged(original[:header]).map(lambda start: start + original[header:]) | damaged(original)
    replace(place / "drawn.safetensors", data.draw(drawn | st.binary(max_size=60)))
    assert_named(read_checkpoint, place / "drawn.safetensors")
    assert_named(read_answers, place / "drawn.safetensors")
