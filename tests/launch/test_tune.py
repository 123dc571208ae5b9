"""`dsabench tune`: equal budgets, and the same trials however the search is run."""

import csv
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import TINY, Result, dsabench, end, start

from dsabench.cli.tune import SELECT
from dsabench.config.spec import parse_spec
from dsabench.errors import UsageError
from dsabench.launch.tune import selected, with_options
from dsabench.tables.budget import expected_best

SMALL = (*TINY, "--train-images", "128", "--seeds", "10", "--trials", "6")
# Ask to stop when so many runs have begun, as Ctrl-C does.
INTERRUPT = """
import os, signal
from dsabench.launch import work
train, begun = work.train, []
def interrupted(*arguments, **more):
    begun.append(1)
    if len(begun) == {at}:
        os.kill(os.getpid(), signal.SIGINT)
    return train(*arguments, **more)
work.train = interrupted
"""


def search(folder: Path, *arguments: object, specs: Sequence[str] = ("simclr", "simclr+dsa-nested")) -> Result:
    return dsabench("tune", *specs, *arguments, "-q", "--runs", folder / "runs", "--output", folder / "found")


def table(folder: Path) -> list[dict[str, str]]:
    """The trials, without the time that they took."""
    with (folder / "found-trials.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "wall_s"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of both arms, with one process, which no test changes."""
    folder = tmp_path_factory.mktemp("whole")
    result = search(folder, *SMALL, "--jobs", "1")
    assert result.code == 0, result.err
    return folder


def test_every_arm_has_as_many_trials_and_runs(whole: Path) -> None:
    for arm in ("simclr", "simclr+dsa-nested"):
        rows = [row for row in table(whole) if row["arm"] == arm]
        assert [row["trial"] for row in rows] == list("012345")
        assert [row["source"] for row in rows] == ["default", *["quasi-random"] * 3, "tpe", "tpe"]
        runs = list((whole / "runs" / "synthetic" / arm).glob("s10-*/run.json"))
        assert len({row["run_ids"] for row in rows}) == len(runs) == 6
        assert all(json.loads(run.read_text())["status"] == "finished" for run in runs)
    # A trial of a regularized arm sets options of both halves.
    last = table(whole)[-1]
    assert all(last[option] for option in ("method.lr", "method.temperature", "regularizer.lambda1", "regularizer.k"))


def test_a_search_that_is_stopped_and_gone_on_with_has_the_same_trials(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    words = ("tune", "simclr", "simclr+dsa-nested", *SMALL, "--jobs", "1", "-q")
    files = ("--runs", folder / "runs", "--output", folder / "found")
    # The first batch of both arms, and one run of the second; the tenth is stopped before it begins.
    stopped = end(start(*words, *files, cwd=tmp_path, before=INTERRUPT.format(at=10)))
    assert stopped.code == 130, stopped.err
    assert "the same command goes on" in stopped.err
    journals = list((folder / "runs" / "tuning").glob("*.log"))
    assert len(journals) == 2
    assert not (folder / "found.toml").exists()
    finished = list(folder.glob("runs/*/*/*/run.json"))
    assert len(finished) == 9
    resumed = search(folder, *SMALL, "--jobs", "1")
    assert resumed.code == 0, resumed.err
    assert table(folder) == table(whole)
    assert (folder / "found.toml").read_text() == (whole / "found.toml").read_text()


def test_processes_change_no_trial(whole: Path, tmp_path: Path) -> None:
    result = search(tmp_path, *SMALL, "--jobs", "2")
    assert result.code == 0, result.err
    assert table(tmp_path) == table(whole)
    assert (tmp_path / "found-budget.csv").read_text() == (whole / "found-budget.csv").read_text()


def test_a_finished_search_trains_nothing_and_says_the_same(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("runs/*/*/*/*.*")}
    found = json.loads(search(whole, *SMALL, "--json").out)
    assert {path: path.stat().st_mtime_ns for path in whole.glob("runs/*/*/*/*.*")} == before
    assert found["tuning"] == "6 trials of 1 seed (10), knn + fewshot[classifier=centroid,shots=5] on val"
    for arm in found["arms"]:
        values = [float(row["value"]) for row in table(whole) if row["arm"] == arm["arm"]]
        assert (arm["default"], arm["best"], arm["failed"]) == (values[0], max(values), 0)
        assert arm["expected_best"] == {str(n): pytest.approx(expected_best(values, n)) for n in (1, 2, 4, 6)}
    printed = search(whole, *SMALL).out
    assert found["arms"][1]["spec"].split("[")[0] in printed
    assert "the best to be expected after so many trials" in printed


def test_compare_takes_what_tune_writes(whole: Path, tmp_path: Path) -> None:
    written = tomllib.loads((whole / "found.toml").read_text())
    assert (written["seeds"], written["train_images"], written["epochs"]) == ("0-9", 128, 1)
    winners = [parse_spec(spec) for spec in written["specs"]]
    assert [spec.method.name for spec in winners] == ["simclr", "simclr"]
    result = dsabench("compare", "--config", whole / "found.toml", "--dry-run", "--json", "--runs", tmp_path / "runs")
    assert result.code == 0, result.err
    plans = json.loads(result.out)
    assert [plan["run"] for plan in plans[:2]] == [f"{spec} s0" for spec in written["specs"]]
    assert len(plans) == 20
    # What is compared is what was found: the same runs but for the seed.
    own = dsabench("pretrain", *TINY, "--train-images", "128", "--seed", "10", "--method", written["specs"][1],
                   "--dry-run", "--json", "--runs", whole / "runs")  # fmt: skip
    assert json.loads(own.out)[0]["run_id"] in {row["run_ids"] for row in table(whole)}


def test_failed_trials_stay_in_the_table_and_count(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    # A temperature that cannot be, and a learning rate at which the loss is soon not finite.
    space.write_text("[method.simclr]\ntemperature = {choices = [0.5, -1]}\nlr = {choices = [0.002, 1e30]}\n")
    words = (*SMALL, "--space", space, "--jobs", "1", "--trials", "8", "--json")
    result = search(tmp_path, *words, specs=["simclr"])
    assert result.code == 0, result.err
    rows = table(tmp_path)
    failed = [row for row in rows if row["status"] != "ok"]
    assert len(rows) == 8
    assert json.loads(result.out)["arms"][0]["failed"] == len(failed) > 0
    assert any("temperature must be" in row["note"] for row in failed)
    assert any("seed 10: " in row["note"] and "not finite" in row["note"] for row in failed)
    assert all(row["value"] == "" and row["run_ids"] for row in failed)
    assert rows[0]["status"] == "ok"


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    words = ("simclr", "simclr[lr=0.01]+dsa-nested[k=10]", *TINY, "--runs", tmp_path / "runs", "--dry-run")
    text = dsabench("tune", *words).out
    assert "64 runs, of each arm 16 trials of 2 seeds (10, 11)" in text
    spaces = json.loads(dsabench("tune", *words, "--json").out)["spaces"]
    mine = [space["option"] for space in spaces if "dsa" in space["arm"]]
    assert mine == ["method.weight_decay", "method.temperature", "regularizer.lambda1", "regularizer.start"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("simclr", "--seeds", "9,10"), 2, "seed 9 is both among --seeds 9,10 and --compare-seeds 0-9"),
        (("simclr", "--compare-seeds", "5-12"), 2, "seed 10 is both among"),
        (("simclr", "--select", "cdnv"), 2, "--select cdnv is no accuracy: geometry can improve while"),
        (("simclr", "--select", "knn", "--select", "cdnv"), 2, "--select cdnv is no accuracy"),
        (("simclr", "--select", "kn"), 2, "unknown --select 'kn'; did you mean 'knn'?"),
        (("simclr", "--select", "fewshot"), 2, "must name one accuracy of the probe"),
        (("simcrl",), 2, "unknown method 'simcrl'; did you mean 'simclr'?"),
        (("random",), 2, "there is nothing to search of 'random'"),
        (("simclr[lr=1,weight_decay=0,temperature=1]",), 2, "there is nothing to search of"),
        (("simclr", "--space", "none.toml"), 3, "cannot read the spaces none.toml"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dsabench("tune", *TINY, *arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("dsabench: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temprature = {choices = [1, 2]}", "simclr has no option 'temprature'; did you mean 'temperature'?"),
        ("temperature = {choices = ['hot', 'cold']}", "the option temperature of simclr must be a number"),
        ("temperature = {low = 1, high = 2}", "leaves out its default 0.5, which every search begins with"),
        ("views = {low = 1, high = 2}", "cannot search views of simclr: 'digits' is no number"),
    ],
)
def test_a_space_that_does_not_fit_the_method_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(f"[method.simclr]\n{text}\n")
    result = search(tmp_path, *TINY, "--space", tmp_path / "space.toml")
    assert result.code == 2
    assert message in result.err


def test_options_become_the_spec_that_a_person_would_write() -> None:
    spec = with_options(parse_spec("simclr[lr=0.01]+dsa-nested"), {"method.temperature": 1.0, "regularizer.k": 9})
    assert str(spec) == "simclr[lr=0.01,temperature=1]+dsa-nested[k=9]"
    assert spec == parse_spec(str(spec))


def test_only_accuracies_can_be_selected() -> None:
    assert [str(selected(text).probe) for text in SELECT] == ["knn", "fewshot"]
    with pytest.raises(UsageError, match="is no accuracy"):
        selected("silhouette")


def test_list_shows_the_spaces() -> None:
    entries = json.loads(dsabench("list", "spaces", "--json").out)
    assert {"name": "regularizer.dsa-nested", "option": "lambda1", "space": "0.5 to 50, log"} in entries
    assert {"method.simclr", "regularizer.dsa-no-m", "regularizer.koleo"} <= {entry["name"] for entry in entries}
    assert "0.25 to 10 times the recipe, log" in dsabench("list", "spaces").out
