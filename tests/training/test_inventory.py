"""What a store lists of its runs, and removing them: on a store without weights, for nothing of it is read."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Result, dsabench

from dsabench.cli.listing import list_runs
from dsabench.cli.output import at_once
from dsabench.signals import Stop
from dsabench.training.inventory import last_saved
from dsabench.training.lock import acquire

STORES = Path(__file__).parent / "stores"
SIMCLR = "05e40a8cbe85"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORES / "version1", tmp_path / "runs"))


def folder(store: Path) -> Path:
    return next(store.glob(f"*/*/*{SIMCLR}"))


def claims(store: Path, status: str) -> None:
    """Let the run of simclr say that its status is this."""
    path = folder(store) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status}))


def listed(store: Path, *where: str) -> list[dict[str, Any]]:
    words = [word for text in where for word in ("--where", text)]
    result = dsabench("list", "runs", "--runs", store, "--json", *words)
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def test_runs_are_told_apart_and_selected(store: Path) -> None:
    assert {(one["spec"], one["status"], one["store"]) for one in listed(store)} == {
        (spec, "finished", str(store)) for spec in ("random", "simclr", "simclr+dsa-nested[lambda1=2]")
    }
    assert [one["run_dir"] for one in listed(store, "spec=simclr")] == [str(folder(store))]
    assert listed(store, "method=simclr", "regularizer=none") == listed(store, "spec=simclr")
    assert len(listed(store, "spec=simclr", "spec=random")) == 2
    assert listed(store, "epochs=99") == []
    wrong = dsabench("list", "runs", "--runs", store, "--where", "epoch=1")
    assert (wrong.code, wrong.out) == (2, "")
    assert "unknown key of --where 'epoch'; did you mean 'epochs'" in wrong.err
    assert dsabench("list", "methods", "--where", "epochs=1").code == 2


def test_a_list_that_is_piped_has_whole_lines(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    list_runs(store, (), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "simclr+dsa-nested[lambda1=2]" in line]
    assert [line for line in lines if line.startswith("all: batch 64, ")]


def test_the_table_names_the_store_and_how_many_were_left_out(store: Path) -> None:
    table = dsabench("list", "runs", "--runs", store)
    assert table.out.startswith(f"3 runs in {store}\n")
    assert all(word in table.out for word in ("run", "spec", "data", "backbone", "epochs", "batch", "seed", "status"))
    assert dsabench("list", "runs", "--runs", store, "--where", "spec=simclr").out.startswith("1 of 3 runs in")
    nothing = dsabench("list", "runs", "--runs", store, "--where", "spec=byol")
    assert nothing.out == f"none of the 3 runs in {store} is meant\n"
    assert dsabench("list", "runs", "--runs", store / "none").out == f"no runs in {store / 'none'} yet\n"


def test_a_run_that_nobody_holds_was_killed(store: Path) -> None:
    def status() -> str:
        (one,) = listed(store, "spec=simclr")
        return str(one["status"])

    claims(store, "running")
    assert status() == "killed"
    with acquire(folder(store), Stop()):
        assert status() == "running"
    assert status() == "killed"
    assert [one["spec"] for one in listed(store, "status=killed")] == ["simclr"]
    claims(store, "interrupted")
    assert status() == "interrupted"


def test_what_is_saved_of_the_runs_under_way_is_told_by_step(store: Path) -> None:
    folders = {path.parent.name: path for path in store.glob("*/*/*")}
    ours = folder(store)
    planned: Any = [
        SimpleNamespace(label=f"{path.parent.name} s0", folder=lambda _, path=path: path)
        for path in (*folders.values(), store / "synthetic" / "byol" / "s0-never")
    ]
    # All are finished, and one was never begun.
    assert last_saved(store, planned) == []
    claims(store, "running")
    step = json.loads((ours / "run.json").read_text())["step"]
    assert last_saved(store, planned) == [f"simclr s0 at step {step:,}"]
    state = json.loads((ours / "run.json").read_text())
    (ours / "run.json").write_text(json.dumps(state | {"step": 1234}))
    assert last_saved(store, planned) == ["simclr s0 at step 1,234"]
    (ours / "run.json").write_text(json.dumps(state | {"checkpoints": []}))
    assert last_saved(store, planned) == ["simclr s0 not yet"]
    (ours / "run.json").write_text("{")
    assert last_saved(store, planned) == []
    assert at_once(["simclr s0 at step 1,234", "byol s0 not yet"]) == (
        "dsabench: stopped at once, nothing more was saved; saved before: simclr s0 at step 1,234, byol s0 not yet; "
        "the same command goes on from the last checkpoint\n"
    )


def test_removing_asks_where_somebody_is_there_to_be_asked(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(*words: str) -> Result:
        return dsabench("remove", SIMCLR[:4], "--runs", store, *words)

    refused = remove()
    assert (refused.code, refused.out) == (2, "")
    assert "say --yes" in refused.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer, left in ((False, 3), (True, 2)):
        monkeypatch.setattr("typer.confirm", lambda *_, answer=answer, **__: answer)
        done = remove()
        assert (done.code, done.out) == (0, "")
        assert f"simclr s0, synthetic, finished: {store}" in done.err
        assert len(listed(store)) == left
    assert remove("--yes").code == 3


def test_removing_leaves_no_empty_folder_and_no_other_run(store: Path) -> None:
    gone = folder(store)
    others = sorted(path for path in store.rglob("*") if path.is_file() and gone not in path.parents)
    done = dsabench("remove", SIMCLR, "--yes", "--json", "--runs", store)
    assert json.loads(done.out) == {"deleted": [str(gone)]}
    assert sorted(path for path in store.rglob("*") if path.is_file()) == others
    assert not gone.parent.exists()


def test_a_run_that_somebody_works_on_is_not_removed(store: Path) -> None:
    claims(store, "running")
    with acquire(folder(store), Stop()):
        refused = dsabench("remove", SIMCLR, "--yes", "--runs", store)
    assert refused.code == 3
    assert "another process works on" in refused.err
    assert folder(store).is_dir()


def test_what_a_killed_remove_left_is_deleted_by_the_next(store: Path) -> None:
    left = folder(store).with_name(".removed-s0-0123456789ab-01234567")
    folder(store).rename(left)
    (left / "run.json").unlink()
    (left / "config.toml").write_text("seed = 0")
    alone = left.parent.parent.parent / "digits" / "byol" / ".removed-s0-abcdefabcdef-01234567"
    alone.mkdir(parents=True)
    dsabench("remove", "0" * 12, "--yes", "--runs", store)
    assert not list(store.rglob(".removed-*"))
    assert not (store / "digits").exists()
