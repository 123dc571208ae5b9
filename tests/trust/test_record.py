"""`run.json` in every way that it can be wrong: one error that names it, and never another row."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import TINY, dsabench
from harm import changed_json, damaged, replace, tried
from hypothesis import given
from hypothesis import strategies as st

from dsabench.data.dataset import DataFacts
from dsabench.errors import DataError
from dsabench.evaluation.encoder import run_columns
from dsabench.training.record import SCHEMA_VERSION, Facts, check_record, sealed
from dsabench.training.run import Run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    runs = tmp_path_factory.mktemp("record") / "runs"
    done = dsabench("pretrain", *TINY, "--method", "simclr+dsa", "--runs", runs, "-q", "--json")
    assert done.code == 0, done.err
    return Path(json.loads(done.out)["run_dir"])


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that may be harmed."""
    folder = tmp_path / "runs" / finished.parent.parent.name / finished.parent.name / finished.name
    shutil.copytree(finished, folder)
    return folder


def test_what_is_written_is_read_and_has_a_checksum(finished: Path) -> None:
    content = json.loads((finished / "run.json").read_text())
    path = finished / "run.json"
    check_record(content, path)
    assert content == sealed(content, path)
    assert Facts.model_fields.keys() == set(DataFacts._fields)


def columns_or_error(folder: Path) -> tuple[dict[str, object], str]:
    """What rows would say of a run, or how it is refused."""
    try:
        return run_columns(Run.load(folder)), ""
    except DataError as error:
        return {}, str(error)


@tried(1500, 150)
@given(st.data())
def test_a_changed_record_is_named_or_means_the_same(finished: Path, data: st.DataObject) -> None:
    path, original = finished / "run.json", (finished / "run.json").read_bytes()
    rows = run_columns(Run.load(finished))
    bad = data.draw(st.one_of(changed_json(original.decode()), damaged(original)))
    try:
        replace(path, bad)
        columns, said = columns_or_error(finished)
        assert columns == rows or str(path) in said
    finally:
        path.write_bytes(original)


@tried(1500, 100)
@given(st.data())
def test_a_changed_record_without_a_checksum_is_named_or_can_be_used(finished: Path, data: st.DataObject) -> None:
    path, original = finished / "run.json", (finished / "run.json").read_bytes()
    content = {name: value for name, value in json.loads(original).items() if name != "checksum"}
    try:
        replace(path, data.draw(changed_json(json.dumps(content | {"schema_version": 2}))))
        columns, said = columns_or_error(finished)
        assert columns or str(path.parent) in said
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "cpu (another)"}, "does not have the checksum that it names"),
        ({"torch_version": None}, "torch_version: Input should be a valid string"),
        ({"checkpoints": []}, "checkpoints: List should have at least 1 item"),
        (
            {"checkpoints": [{"file": "../x.safetensors", "sha256": "0" * 64}]},
            "checkpoints.0.file: String should match",
        ),
        ({"status": "new"}, "status: Input tag 'new'"),
        ({"images_seen": -1}, "images_seen: Input should be greater than or equal to 0"),
        ({"checksum": None}, "does not have the checksum that it names"),
        (
            {"schema_version": SCHEMA_VERSION + 1},
            f"has schema_version {SCHEMA_VERSION + 1}, this dsabench reads 1 to {SCHEMA_VERSION}",
        ),
        ({"schema_version": True}, "has schema_version True"),
    ],
)
def test_the_error_names_the_file_and_the_field(change: dict[str, Any], message: str, copy: Path) -> None:
    path = copy / "run.json"
    replace(path, json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        Run.load(copy)
    assert str(path) in str(caught.value)
    # The same by hand: nothing but the line and the code.
    for arguments in (("show", copy), ("eval", copy, "--probe", "knn")):
        result = dsabench(*arguments)
        assert (result.code, result.out) == (3, "")
        assert message in result.err


def test_a_log_that_was_changed_is_named_and_mended_with_the_run(copy: Path) -> None:
    log = (copy / "log.csv").read_bytes()
    replace(copy / "log.csv", log.replace(b"1", b"2"))
    refused = dsabench("eval", copy, "--probe", "knn")
    assert refused.code == 3
    assert f"{copy / 'log.csv'} is missing or damaged; the same pretrain command mends it" in refused.err
    runs = copy.parent.parent.parent
    mended = dsabench("pretrain", *TINY, "--method", "simclr+dsa", "--runs", runs)
    assert mended.code == 0, mended.err
    assert (copy / "log.csv").read_bytes() == log
    assert dsabench("eval", copy, "--probe", "knn").code == 0


def test_the_configuration_of_a_run_is_that_of_the_run(copy: Path, tmp_path: Path) -> None:
    path = copy / "config.toml"
    again = ("pretrain", "--config", path, "--runs", copy.parent.parent.parent)
    assert "already finished" in dsabench(*again).out
    for content in ("", "seed = 1\n"):
        replace(path, content)
        refused = dsabench(*again)
        assert refused.code == 3
        assert f"{path} is not the configuration that its run wrote" in refused.err
    # A copy elsewhere may say what it likes.
    (tmp_path / "config.toml").write_text("seed = 1\n")
    assert dsabench("pretrain", *TINY, "--config", tmp_path / "config.toml", "--dry-run").code == 0
