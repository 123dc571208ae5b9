"""What a report shows of the runs behind its rows: trained once here, very small."""

import json
import shutil
from pathlib import Path

import pytest
from command import TINY, dsabench

from dsabench.data import Datasets
from dsabench.evaluation.similar import similar_pairs
from dsabench.report.page.blocks import Absent, Drawing
from dsabench.report.page.material import material_of
from dsabench.report.page.stored import Stored, curve_of, read_log, stored_sections
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary
from dsabench.training.checkpoint import read_checkpoint
from dsabench.training.store import Store

CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    seen = dsabench(
        *("compare", "simclr", "simclr+dsa[weight=3]", "--seeds", "0-1", *TINY, "--jobs", 1, "--quiet"),
        *("--probe", "knn", "--probe", "crowding", "--guard", "knn"),
        *("--runs", folder / "runs", "--output", folder / "tiny"),
    )
    assert seen.code == 0, seen.err
    return folder


@pytest.fixture(scope="module")
def stored(folder: Path) -> Stored:
    return Stored(material_of(folder / "tiny.csv", CRITERIA), Store(folder / "runs"), Datasets(offline=True))


def test_every_section_is_drawn_from_what_the_runs_left(stored: Stored) -> None:
    made = stored_sections(stored)
    assert list(made) == ["curves", "classes", "maps", "similar", "changed"]
    for key in ("curves", "classes", "maps"):
        assert any(isinstance(block, Drawing) for block in made[key]), key
    assert not [block for blocks in made.values() for block in blocks if isinstance(block, Absent)]
    assert stored.pairs == [("simclr+dsa[weight=3]", "simclr")]


def test_curves_are_the_log(stored: Stored) -> None:
    logs = [read_log(run) for (spec, _), run in stored.runs.items() if spec == "simclr"]
    curve = curve_of("simclr", "loss", logs)
    assert curve is not None
    assert curve.epochs == (1.0,)
    losses = [float(run.last_epoch()["loss"]) for (spec, _), run in stored.runs.items() if spec == "simclr"]
    assert (curve.mean[0], curve.low[0], curve.high[0]) == (pytest.approx(sum(losses) / 2), min(losses), max(losses))
    assert curve_of("simclr", "dsa_adjust", logs) is None


def test_similar_pairs_are_seen_once_and_move_no_weight(stored: Stored) -> None:
    run = stored.runs["simclr+dsa[weight=3]", 0]
    dataset = stored.datasets.load(run.config.data)
    before, _ = read_checkpoint(run.final_checkpoint())
    found = similar_pairs(run, dataset)
    assert found is not None
    assert len(set(found.index)) == len(found.index) == 64
    assert all(0 <= i < j < 64 for i, j in found.pairs)
    (kept,) = (run.folder / "features").glob("similar-*.json")
    assert tuple(json.loads(kept.read_text())["index"]) == found.index
    assert similar_pairs(run, dataset) == found
    kept.unlink()
    assert similar_pairs(run, dataset) == found
    after, _ = read_checkpoint(run.final_checkpoint())
    assert all(bool((after[name] == tensor).all()) for name, tensor in before.items())
    assert similar_pairs(stored.runs["simclr", 0], dataset) is None


def test_what_was_declared_is_held_against_what_is_reported(stored: Stored, folder: Path) -> None:
    told = " ".join(stored.deviations)
    assert "guards changed from knn to knn, fewshot" in told
    lonely = Stored(stored.material, Store(folder / "nowhere"), stored.datasets)
    assert "none of these runs is in the store" in lonely.deviations[0]
    assert all(isinstance(blocks[0], Absent) for blocks in stored_sections(lonely).values())


def test_a_damaged_run_leaves_the_other_sections_standing(stored: Stored, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    for run in Store(tmp_path / "runs").runs():
        (run.folder / "log.csv").write_text("epoch,loss\n1,\x00")
        shutil.rmtree(run.folder / "features")
        shutil.rmtree(run.folder / "checkpoints")
    made = stored_sections(Stored(stored.material, Store(tmp_path / "runs"), stored.datasets))
    for key in ("curves", "classes", "maps", "similar", "changed"):
        (why,) = made[key]
        assert isinstance(why, Absent), key
    assert made["curves"] == (Absent("these runs have no log.csv."),)


def test_the_command_writes_a_page_figures_and_tables(folder: Path, tmp_path: Path) -> None:
    seen = dsabench(
        *("report", folder / "tiny.csv", "--from", folder / "runs", "--output", tmp_path, "--guard", "knn"),
        *("--figures", tmp_path / "figures", "--latex", "--markdown", "--csv", "--json"),
    )
    assert seen.code == 0, seen.err
    answer = json.loads(seen.out)
    assert answer["report"] == str(tmp_path / "tiny.html")
    assert all(Path(file).stat().st_size for file in answer["files"])
    assert {"tiny.html", "tiny.tex", "tiny.md", "tiny-table-1.csv"} <= {file.name for file in tmp_path.iterdir()}
    figures = sorted(file.name for file in (tmp_path / "figures").iterdir())
    assert {"tiny-crowding.svg", "tiny-crowding.pdf", "tiny-differences-own-cdnv.svg"} <= set(figures)
    assert "<h2" in (tmp_path / "tiny.html").read_text(encoding="utf-8")


def test_without_a_table_it_reports_what_was_compared_last(folder: Path, tmp_path: Path) -> None:
    seen = dsabench("report", "--from", folder / "runs", "--output", tmp_path)
    assert seen.code == 0, seen.err
    (path,) = tmp_path.glob("*.html")
    assert seen.out.strip() == str(path)
    assert "simclr+dsa" in path.read_text(encoding="utf-8").replace("<wbr>", "")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["report"], 2, "report needs a table or a run store"),
        (["report", "x.csv", "--style", "poster"], 2, "unknown style 'poster'"),
        (["report", "x.csv", "--maps", "pca"], 2, "unknown value of --maps 'pca'"),
        (["report", "nothing.csv"], 3, "cannot read nothing.csv"),
        (["report", "--from", "nowhere"], 5, "no finished run in nowhere"),
    ],
)
def test_what_cannot_be_reported_is_one_line(words: list[str], code: int, told: str) -> None:
    seen = dsabench(*words)
    assert seen.code == code
    assert told in seen.err
    assert seen.err.count("\n") == 1
