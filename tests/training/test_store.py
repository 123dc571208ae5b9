"""The run store: runs are found by their identity, whatever wrote them and whatever their data are called."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import TINY, dsabench

from dsabench.config.renames import in_spec, renamed_and_respelled
from dsabench.errors import DataError
from dsabench.training.run import Run
from dsabench.training.store import Store

# Stores that released versions wrote, without what weighs something: the bits of weights differ between processors.
STORES = Path(__file__).parent / "stores"
SPECS = ("simclr", "simclr+dsa-nested[lambda1=2]")


def changed(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def version1(tmp_path: Path) -> Path:
    """A store of version 1 whose finished runs have the weights that this machine gives them."""
    store = tmp_path / "runs"
    shutil.copytree(STORES / "version1", store)
    for spec in (*SPECS, "random"):
        done = dsabench("pretrain", "--method", spec, *TINY, "--runs", tmp_path / "new", "--json", "-q")
        assert done.code == 0, done.err
        ours = json.loads((Path(json.loads(done.out)["run_dir"]) / "run.json").read_text())
        written = {path: json.loads(path.read_text())["spec"] for path in store.glob("*/*/*/run.json")}
        (theirs,) = (path for path, said in written.items() if in_spec(said, renamed_and_respelled) == spec)
        checkpoints = Path(json.loads(done.out)["run_dir"]) / "checkpoints"
        shutil.copytree(checkpoints, theirs.parent / "checkpoints")
        changed(theirs, checkpoints=ours["checkpoints"], weights_sha256=ours["weights_sha256"])
    return store


def test_runs_of_version_1_are_listed_shown_and_reused(version1: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in version1.glob("*/*/*"))
    listed = json.loads(dsabench("list", "runs", "--runs", version1, "--json").out)
    assert sorted((one["spec"], one["seed"]) for one in listed) == [("random", 0), *((spec, 0) for spec in SPECS)]
    assert dsabench("show", "05e40a8cbe85", "--runs", version1).code == 0
    arguments = ("compare", *SPECS, *TINY, "--seeds", "0", "--probe", "knn", "--runs", version1)
    result = dsabench(*arguments, "--output", tmp_path / "table", "--jobs", "1")
    assert result.code == 0, result.err
    assert result.err.count("reused") == len(SPECS)
    assert "finished after" not in result.err
    # Nothing was trained beside them.
    assert sorted(path.name for path in version1.glob("*/*/*")) == before


def test_a_default_that_is_spelled_out_finds_the_run(version1: Path) -> None:
    spelled = ("pretrain", "--method", "simclr[temperature=0.5,weight_decay=0.0001]", *TINY, "--runs", version1)
    result = dsabench(*spelled)
    assert result.code == 0, result.err
    assert "already finished" in result.out


def test_a_run_that_a_later_version_wrote_is_refused_by_name(version1: Path) -> None:
    path = next(version1.glob("*/random/*/run.json"))
    changed(path, schema_version=99)
    with pytest.raises(DataError, match=re.escape(f"{path} has schema_version 99, this dsabench reads 1 to ")):
        Run.load(path.parent)


def test_a_run_of_version_1_that_was_changed_by_hand_is_refused(version1: Path) -> None:
    path = next(version1.glob("*/random/*/run.json"))
    config = json.loads(path.read_text())["config"]
    changed(path, config=config | {"seed": 5})
    with pytest.raises(DataError, match="was changed by hand"):
        Run.load(path.parent)


def test_a_run_is_found_under_another_title_of_its_data(tmp_path: Path) -> None:
    from PIL import Image

    for split, count in (("train", 12), ("test", 4)):
        for name, colour in (("ant", "red"), ("bee", "blue")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), colour).save(folder / f"{number}.png")
    common = (
        *("pretrain", "--dataset", "imagefolder", "--data-dir", tmp_path / "images", "--backbone", "resnet8w16"),
        *("--epochs", "1", "--batch-size", "8", "--device", "cpu", "--runs", tmp_path / "runs"),
    )
    assert dsabench(*common).code == 0
    again = dsabench(*common, "--data-name", "insects")
    assert again.code == 0, again.err
    assert "already finished" in again.out
    assert len(Store(tmp_path / "runs").runs()) == 1
    # Other images are other data, and another run: nothing is mixed, and nothing is refused.
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "images" / "train" / "ant" / "99.png")
    other = dsabench(*common)
    assert other.code == 0, other.err
    assert "already finished" not in other.out
    assert len(Store(tmp_path / "runs").runs()) == 2
