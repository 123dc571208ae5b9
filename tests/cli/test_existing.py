"""`compare` of what exists: runs of two stores, tables, and models beside them. Nothing is trained."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import TINY, Result, dsabench

from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.tables.answers import read_answers
from dsabench.tables.rows import read_csv, write_csv

QUICK = ("--probe", "knn", "--guard", "knn")


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("run.json")}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a` has two seeds of two specs, `b` one run of more epochs; `a.csv` is the table of the first."""
    folder = tmp_path_factory.mktemp("stores")
    arms = ("simclr", "simclr+dsa", *TINY, "--seeds", "0-1", "--jobs", "1", *QUICK, "--output", folder / "a")
    ok(dsabench("compare", *arms, "--runs", folder / "a", "-q"))
    longer = [*TINY[:7], "2", *TINY[8:]]
    ok(dsabench("pretrain", "--method", "simclr", *longer, "--runs", folder / "b", "-q"))
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_runs_of_a_store_say_what_they_said_when_they_were_trained(stores: Path, tmp_path: Path) -> None:
    before = files(stores)
    result = ok(dsabench("compare", "--from", stores / "a", *QUICK, "--output", tmp_path / "again"))
    assert files(stores) == before
    assert "nothing is trained" in result.err
    assert "simclr+dsa against simclr: 2 seeds, paired" in result.out
    with (stores / "a-summary.csv").open() as old, (tmp_path / "again-summary.csv").open() as new:
        trained, found = list(csv.DictReader(old)), list(csv.DictReader(new))
    # How options were chosen is known to the command that trained alone.
    told = [{key: value for key, value in row.items() if not key.startswith("tuning")} for row in trained]
    assert told == [{key: value for key, value in row.items() if not key.startswith("tuning")} for row in found]


def test_it_is_said_where_probes_learn_from_other_images_than_the_runs_did(stores: Path, tmp_path: Path) -> None:
    asked = ("compare", "--from", shutil.copytree(stores / "a", tmp_path / "a"), *QUICK)
    alike = ok(dsabench(*asked, "--dataset", "synthetic", "--output", tmp_path / "t"))
    fewer = ok(dsabench(*asked, "--dataset", "synthetic", "--train-images", "100", "--output", tmp_path / "u"))
    assert "probes learn from" not in alike.err
    told = "simclr, simclr+dsa: probes learn from 100 training images of synthetic, the runs had 256"
    assert fewer.err.splitlines().count(told) == 1


def test_a_dry_run_says_how_it_departs_from_what_was_declared(stores: Path) -> None:
    asked = ("compare", "simclr", "simclr+dsa", *TINY, "--seeds", "0-1", *QUICK, "--runs", stores / "a", "--dry-run")
    assert "What decides was set" not in ok(dsabench(*asked)).out
    other = ok(dsabench(*asked, "--primary", "knn"))
    assert "What decides was set by the first comparison of these arms here, of simclr and simclr+dsa on " in other.out
    assert "Primary changed from cdnv to knn after looking." in other.out.splitlines()


def test_a_table_alone_is_compared_as_its_runs_are(stores: Path, tmp_path: Path) -> None:
    sentences = [
        json.loads(ok(dsabench("compare", *arms, "--output", tmp_path / "t", "--json")).out)["finding"]
        for arms in (("--from", stores / "a.csv"), ("--from", stores / "a", *QUICK))
    ]
    assert sentences[0] == sentences[1]
    assert [row.run_id for row in read_csv(tmp_path / "t.csv")]
    # A run that two sources have is there once.
    both = ok(
        dsabench("compare", "--from", stores / "a.csv", "--from", stores / "a", *QUICK, "--output", tmp_path / "b")
    )
    assert "2 seeds, paired" in both.out


def test_a_table_made_of_shipped_ones_is_read_back(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "results" / "digits.csv"
    arms = ("simclr", "simclr+dsa-nested")
    ok(dsabench("compare", "--from", shipped, *arms, "--output", tmp_path / "t"))
    assert ok(dsabench("report", tmp_path / "t.csv")).out == f"{tmp_path / 't.html'}\n"
    again = ok(dsabench("compare", "--from", tmp_path / "t.csv", *arms, "--output", tmp_path / "u"))
    assert "simclr+dsa-nested against simclr" in again.out
    assert (tmp_path / "u.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()


def test_tuned_arms_are_called_by_their_methods_where_that_is_clear(tmp_path: Path) -> None:
    tuned = Path(__file__).parents[2] / "results" / "digits-tuned.csv"
    result = ok(dsabench("compare", "--from", tuned, "byol", "byol+dsa-nested", "--output", tmp_path / "t", "--json"))
    taken = [line.partition(": ") for line in result.err.splitlines() if line.endswith("is taken")]
    assert [(name, line.partition("[")[0]) for name, _, line in taken] == [
        ("byol", "byol"),
        ("byol+dsa-nested", "byol"),
    ]
    assert len({row.spec for row in read_csv(tmp_path / "t.csv")}) == 2
    # What Holm counts depends on the arms that were picked.
    sentence = json.loads(result.out)["finding"]
    told = f"2 of 15 arms of {tuned}: Holm counts 1 pair; over all its 14 pairs against byol p = "
    assert sum(line.startswith(told) for line in sentence.splitlines()) == 1
    unknown = dsabench("compare", "--from", tuned, "byol", "bylo+dsa-nested")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (2, "", 1)
    assert "unknown arm 'bylo+dsa-nested'" in unknown.err
    assert "did you mean 'byol+dsa-nested'? the arms are byol, byol+dsa-minimal, byol+dsa-nested, " in unknown.err


def test_options_of_tuned_arms_are_told_once_in_the_terminal_and_everywhere_in_json(tmp_path: Path) -> None:
    tuned = Path(__file__).parents[2] / "results" / "research-digits-tuned.csv"
    asked = ("compare", "--from", tuned, "byol", "byol+dsa-nested", "--output", tmp_path / "t")
    shown = " ".join(ok(dsabench(*asked)).out.split())
    plain, regularized = dict.fromkeys(row.spec for row in read_csv(tmp_path / "t.csv"))
    assert "byol+dsa-nested against byol: 10 seeds, paired" in shown
    assert "byol+dsa-nested lowers cdnv against byol by " in shown
    # Lines are broken within a long spec.
    assert (
        shown.replace(" ", "").count(f"armsinfullbyol:{plain}byol+dsa-nested:{regularized}byol+dsa-nestedlowers") == 1
    )
    assert shown.count("momentum=") == 2
    summary = (tmp_path / "t-summary.csv").read_bytes()
    finding = json.loads(ok(dsabench(*asked, "--json")).out)["finding"]
    assert finding.startswith(f"{regularized} lowers cdnv against {plain} by ")
    assert (tmp_path / "t-summary.csv").read_bytes() == summary


def test_options_of_arms_that_are_trained_are_told_once(tmp_path: Path) -> None:
    regularized = "simclr+dsa[k=5,weight=2]"
    asked = ("compare", "simclr", regularized, *TINY, "--seeds", "0", *QUICK)
    legend = ["arms in full", f"simclr+dsa: {regularized}"]
    planned = ok(dsabench(*asked, "--dry-run"))
    assert planned.out.splitlines()[:2] == legend
    assert planned.out.count(regularized) == 1
    assert "simclr+dsa s0" in planned.out
    assert json.loads(ok(dsabench(*asked, "--dry-run", "--json")).out)[1]["run"] == f"{regularized} s0"
    result = ok(dsabench(*asked, "--jobs", "1"))
    lines = result.out.splitlines()
    place = lines.index(legend[0])
    assert lines[place + 1] == legend[1]
    assert result.out.count(regularized) == 1
    # The overview, its chart and the differences above it, sentences below it.
    assert [line.partition(" ")[0] for line in lines[:place]].count("simclr+dsa") == 3
    assert any(line.startswith("simclr+dsa against simclr: p < .05 in 0 of 1 seed") for line in lines[place:])
    (table,) = tmp_path.glob("results/*dsa*k-5*[!y].csv")
    assert {row.spec for row in read_csv(table)} == {"simclr", regularized}


def test_two_stores_say_what_was_not_held_equal_and_filters_choose(stores: Path, tmp_path: Path) -> None:
    sources = ("compare", "--from", stores / "a", "--from", stores / "b", *QUICK, "--output", tmp_path / "t")
    result = ok(dsabench(*sources, "simclr"))
    assert "not held equal: epochs: simclr (1 epoch) 1; simclr (2 epochs) 2" in result.err
    assert "simclr (2 epochs) against simclr (1 epoch): 1 seed, paired" in result.out
    assert {row.spec for row in read_csv(tmp_path / "t.csv")} == {"simclr"}
    chosen = ok(
        dsabench(
            *sources,
            "--overwrite",
            "tables",
            "--where",
            "epochs=1",
            "--where",
            "spec=simclr",
            "--where",
            "spec=simclr+dsa",
        )
    )
    assert "simclr+dsa against simclr: 2 seeds" in chosen.out
    nothing = dsabench(*sources, "--where", "epochs=2")
    assert (nothing.code, nothing.out) == (5, "")
    assert "a comparison needs two arms, and only simclr is there" in nothing.err


def test_single_models_are_compared_over_images(stores: Path, tmp_path: Path) -> None:
    single = ("compare", "--from", stores / "a", *QUICK, "--where", "seed=0", "--output", tmp_path / "t")
    result = ok(dsabench(*single))
    assert "simclr+dsa against simclr: one model each" in result.out
    assert "This speaks of these weights and not of the method" in " ".join(result.out.split())
    with (tmp_path / "t-summary.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        low, difference, high = (float(row[name]) for name in ("low", "difference", "high"))
        assert low <= difference <= high
    # As the stored answers of the two runs have it.
    right = [
        np.mean(answers.correct(rows["accuracy"]["probe_params"]))
        for spec in ("simclr", "simclr+dsa")
        for path in (stores / "a").glob(f"*/{spec}/s0-*/features/answers-knn-*.safetensors")
        for answers in [read_answers(path)]
    ]
    assert float(rows["accuracy"]["difference"]) == pytest.approx(right[1] - right[0])
    # Rows alone have no images: their values stand without an interval.
    ok(dsabench("compare", "--from", stores / "a.csv", "--where", "seed=0", "--output", tmp_path / "u"))
    with (tmp_path / "u-summary.csv").open() as file:
        assert {(row["low"], row["high"]) for row in csv.DictReader(file)} == {("", "")}


def test_embeddings_stand_beside_each_other(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = np.arange(200) % 4
    for name, spread in (("wide", 1.0), ("tight", 0.3)):
        x = (generator.normal(size=(4, 8))[y] + spread * generator.normal(size=(200, 8))).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    files = [word for name in ("wide", "tight") for word in ("--features", f"{name}={tmp_path / name}.npz")]
    result = ok(dsabench("compare", *files, *QUICK, "--output", tmp_path / "t"))
    assert "tight has a lower CDNV than wide by" in " ".join(result.out.split())


def test_the_name_of_a_run_beside_models_alone_says_where_runs_come_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.eye(9, dtype=np.float32), y=np.arange(9) % 3)
    result = dsabench("compare", "simclr", "simclr+dsa", "--features", "mine=mine.npz", "--runs", "store")
    assert (result.code, result.out) == (2, "")
    assert "no arm 'simclr' among the models: mine; for the runs of that name add: --from store\n" in result.err


def test_arms_on_no_common_data_set_are_an_error_and_leave_no_file(stores: Path, tmp_path: Path) -> None:
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "pca.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    features = ("--features", "pca=pca.npz", *QUICK, "--output", tmp_path / "t")
    result = dsabench("compare", "--from", stores / "a.csv", "simclr", "pca", *features)
    assert (result.code, result.out) == (5, "")
    assert "no data set has two of the arms: simclr on synthetic; pca on embeddings" in result.err
    assert "if the images of pca are those of synthetic, say --dataset synthetic --image-size 8\n" in result.err
    assert not list(tmp_path.glob("t*"))
    # Beside a pair that has one it is told, and left out.
    more = ok(dsabench("compare", "--from", stores / "a.csv", *features))
    assert "there is pca alone: nothing to compare it with; if the images of pca are those of synth" in more.err
    assert "simclr+dsa against simclr" in more.out


def test_embeddings_of_the_images_of_runs_need_their_size_and_runs_of_other_images_are_left_out(
    tmp_path: Path,
) -> None:
    """All is told with the flags to give, before anything is evaluated."""
    dataset = load_dataset(DataConfig(name="digits"), offline=True)
    parts = {split: getattr(dataset, split) for split in ("train", "val", "test")}
    np.savez(
        tmp_path / "mine.npz",
        **{f"x_{split}": part.images.flatten(1).float().numpy() for split, part in parts.items()},
        **{f"y_{split}": part.labels.numpy() for split, part in parts.items()},
    )
    quick = ("--epochs", "1", "--train-images", "64", "--batch-size", "32", "-q")
    ok(dsabench("pretrain", "--image-size", "12", *quick))
    ok(dsabench("pretrain", "--method", "byol", *TINY, "-q"))
    beside = ("compare", "--from", "runs", "--features", "mine=mine.npz", "--dataset", "digits", *QUICK)
    refused = dsabench(*beside)
    assert (refused.code, refused.out) == (3, "")
    left_out, error = refused.err.splitlines()
    assert left_out.startswith(
        "left out: byol s0 (trained on synthetic, not on digits; --where dataset=synthetic evaluates it on digits), "
    )
    assert error.endswith(
        "the runs see digits at 12 px (simclr s0), and mine would stand for it at 8 px; give them all one size: "
        "--dataset digits --image-size 12; if the images may differ: --mix dataset_sha256"
    )
    assert "mine has a" in " ".join(ok(dsabench(*beside, "--image-size", "12")).out.split())
    assert "mine has a" in " ".join(ok(dsabench(*beside, "--mix", "dataset_sha256")).out.split())
    assert {row.spec for row in read_csv(next(tmp_path.glob("results/*-vs-mine.csv")))} == {"simclr", "mine"}
    meant = ok(dsabench(*beside, "--where", "dataset=synthetic", "--image-size", "12"))
    assert "left out" not in meant.err
    assert "mine against byol" in meant.out
    # One file of embeddings beside runs of two seeds: no run of it is missing, and no more would do.
    ok(dsabench("pretrain", "--image-size", "12", *quick, "--seed", "1"))
    seeds = " ".join(ok(dsabench(*beside, "--image-size", "12", "--where", "dataset=digits")).out.split())
    assert seeds.count("mine has no seeds") == 1
    assert "missing" not in seeds
    assert "would do" not in seeds
    # As it is of the table that was written.
    (table,) = tmp_path.glob("results/*simclr-vs-mine.csv")
    stored = " ".join(ok(dsabench("compare", "--from", table, "--output", tmp_path / "again")).out.split())
    assert stored.count("mine has no seeds") == 1
    assert "too few" not in stored
    with (tmp_path / "again-summary.csv").open() as file:
        judged = {row["verdict"] for row in csv.DictReader(file) if row["role"] != "descriptive"}
    assert judged == {"no seeds"}


def test_several_data_sets_have_a_column_each(stores: Path, tmp_path: Path) -> None:
    rows = read_csv(stores / "a.csv")
    other = [replace(row, dataset="other", dataset_sha256="0" * 64) for row in rows]
    write_csv([replace(row, epochs=1 + (row.spec == "simclr")) for row in other], tmp_path / "other.csv")
    result = ok(
        dsabench("compare", "--from", stores / "a.csv", "--from", tmp_path / "other.csv", "--output", tmp_path / "t")
    )
    assert "CDNV on 2 data sets, backbone features" in result.out
    assert "P(better)" in result.out
    assert "not held equal: epochs on other: simclr 2; simclr+dsa 1\n" in result.err
    assert {path.name for path in tmp_path.glob("t-*")} == {"t-other-summary.csv", "t-synthetic-summary.csv"}
    # What names stand for is said once, after the tables of all.
    tuned = [replace(row, method="simclr[lr=0.01]") if row.regularizer == "none" else row for row in (*rows, *other)]
    write_csv(tuned, tmp_path / "tuned.csv")
    told = ok(dsabench("compare", "--from", tmp_path / "tuned.csv", "--output", tmp_path / "u")).out
    assert told.count("simclr[lr=0.01]") == 1
    assert told.rstrip().splitlines()[-2:] == ["arms in full", "simclr: simclr[lr=0.01]"]


def test_images_that_have_two_names_are_compared_as_one_data_set(stores: Path, tmp_path: Path) -> None:
    rows = read_csv(stores / "a.csv")
    write_csv([row for row in rows if row.spec == "simclr"], tmp_path / "a.csv")
    write_csv([replace(row, dataset="mine") for row in rows if row.spec != "simclr"], tmp_path / "b.csv")
    result = ok(dsabench("compare", "--from", "a.csv", "--from", "b.csv", "--output", tmp_path / "t"))
    assert "mine and synthetic are the same images: called synthetic here" in result.err
    assert "simclr+dsa against simclr: 2 seeds, paired" in result.out
    assert {row.dataset for row in read_csv(tmp_path / "t.csv")} == {"synthetic"}


def test_without_training_the_missing_runs_are_named(stores: Path, tmp_path: Path) -> None:
    arms = (
        "compare",
        "simclr",
        "simclr+dsa",
        "byol",
        *TINY,
        *QUICK,
        "--runs",
        stores / "a",
        "--no-train",
        "--jobs",
        "1",
    )
    before = files(stores)
    result = ok(dsabench(*arms, "--seeds", "0-2", "--output", tmp_path / "t"))
    assert files(stores) == before
    assert [line.partition(": ")[2] for line in result.err.splitlines() if line.startswith("not there")] == [
        *("byol s0", "byol s1", "simclr s2", "simclr+dsa s2", "byol s2"),
    ]
    assert "seed 2 missing" in result.out
    # What is said before counts the pairs that are there, and what was found says beside it what is not.
    assert "1 pair against simclr, 3 seeds: " in result.err
    assert "byol: none of its runs is there" in result.out.splitlines()
    named = ok(dsabench(*arms, "--seeds", "0-2"))
    assert "wrote results/synthetic-simclr-vs-simclr+dsa-resnet8w16-1-epochs-batch-64-8-px.csv and" in named.err
    nothing = dsabench(*arms, "--seeds", "7", "--output", tmp_path / "u")
    assert nothing.code == 5
    assert f"none of these runs is finished in {stores / 'a'}; without --no-train they are trained" in nothing.err
    assert not list(tmp_path.glob("u*"))
    assert files(stores) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--from", "nowhere"), 3, "no run store and no table nowhere"),
        (("--from", "nowhere.csv"), 3, "cannot read nowhere.csv"),
        (("--from", ".", "--epochs", "3"), 2, "--epochs is for what is trained"),
        (("--from", ".", "--seeds", "3"), 2, "--seeds is for what is trained"),
        (("--from", ".", "--where", "epoch=3"), 2, "unknown key of --where 'epoch'; did you mean 'epochs'"),
        (("--from", ".", "--mix", "sha"), 2, "unknown column of --mix 'sha'"),
        (("--from", "."), 5, "a comparison needs two arms, and nothing is there"),
        (("simclr", "byol", "--where", "epochs=3"), 2, "--where and --mix are for runs that exist"),
        (("results/x.csv",), 2, "results/x.csv is a table, and no arm; to compare what it holds: --from results/x.csv"),
        (("simclr", "byol", "--device", "gpu"), 2, "unknown device 'gpu'; did you mean 'cuda'?"),
        (
            ("simclr", "byol", "--metric", "knn"),
            2,
            "did you mean --primary, which decides, or --probe, which is measured beside it?",
        ),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, message: str, tmp_path: Path) -> None:
    result = dsabench("compare", *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_compared_are_refused(stores: Path, tmp_path: Path) -> None:
    rows = [row for row in read_csv(stores / "a.csv") if row.spec == "simclr"]
    write_csv(
        [replace(row, run_id=f"x{row.run_id}", method="byol", probe_version="0") for row in rows], tmp_path / "old.csv"
    )
    sources = ("compare", "--from", stores / "a.csv", "--from", tmp_path / "old.csv", "--output", tmp_path / "t")
    refused = dsabench(*sources)
    assert (refused.code, refused.out) == (3, "")
    assert "differ in probe_version" in refused.err
    assert not (tmp_path / "t.csv").exists()
    assert "byol against simclr" in ok(dsabench(*sources, "--mix", "probe_version")).out
