import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from command import TINY, Result, dsabench, end, start

from dsabench import __version__
from dsabench.backbones import BACKBONES
from dsabench.data import DATASETS
from dsabench.methods import METHODS
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.regularizers import REGULARIZERS
from dsabench.tables.rows import COLUMNS, KEY, comparable, read_csv, record

SUMMARY = ("run_id", "run_dir", "checkpoint", "weights_sha256", "status", "epochs", "wall_s", "images_per_s")
QUICK = ("--probe", "knn", "--probe", "crowding")
CORE = {name for name, entry in METRICS.items() if entry.tier == "core"}


def contents(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Every file with its time, its inode and its bytes."""
    return {
        path: ((facts := path.stat()).st_mtime_ns, facts.st_ino, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run store with one finished run of simclr+dsa, which no test changes."""
    runs = tmp_path_factory.mktemp("store") / "runs"
    ok(dsabench("pretrain", *TINY, "--method", "simclr+dsa", "--runs", runs, "-q"))
    return runs


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Defaults such as runs/ and results/ are relative.
    monkeypatch.chdir(tmp_path)


def test_help_is_quick_and_shows_an_example_first() -> None:
    code = (
        "import sys\nfrom dsabench.cli import main\ntry:\n    main()\nfinally:\n"
        "    print(*[name for name in ('torch', 'numpy', 'pandas', 'sklearn') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "dsabench compare simclr simclr+dsa" in done.stdout
    assert done.stdout.index("Example") < done.stdout.index("Commands")


@pytest.mark.parametrize("command", ["pretrain", "eval", "compare", "tune", "list", "show", "remove"])
def test_every_command_has_an_example_and_every_flag_a_word(command: str) -> None:
    text = ok(dsabench(command, "--help")).out
    assert f"dsabench {command}" in text
    assert text == ok(dsabench(command, "-h")).out


def test_version() -> None:
    assert ok(dsabench("--version")).out == f"dsabench {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("pretrain", "--method", "simcrl"), 2, "unknown method 'simcrl'; did you mean 'simclr'?"),
        (("pretrain", "--method", "simclr+das"), 2, "unknown regularizer 'das'; did you mean 'dsa'?"),
        (("pretrain", "--method", "simclr["), 2, "cannot read 'simclr['"),
        (("pretrain", "--method", "simclr[temp=1]"), 2, "simclr has no option 'temp'; did you mean 'temperature'?"),
        (("pretrain", "--method", "simclr[temperature=hot]"), 2, "the option temperature of simclr must be a number"),
        (("pretrain", "--method", "simclr+dsa[weight=-1]"), 2, "dsa[weight=-1]: weight, push and spread must be >= 0"),
        (("pretrain", "--method", "simclr[lr=0]"), 2, "simclr: lr must be > 0"),
        (("pretrain", "--method", "simclr[epochs=0]"), 2, "--epochs must be at least 1, got 0"),
        (("pretrain", "--method", "random+dsa"), 2, "'random' is not trained"),
        (("pretrain", "--dataset", "cifar"), 2, "unknown dataset 'cifar'; did you mean 'cifar10'?"),
        (("pretrain", "--backbone", "resnet9"), 2, "unknown backbone 'resnet9'; did you mean"),
        (("pretrain", "--set", "temperature=1"), 2, "cannot read --set 'temperature=1'"),
        (("pretrain", "--set", "method.temprature=1"), 2, "did you mean method.temperature?"),
        (("pretrain", "--set", "regularizer.lambda1=1"), 2, "none of the specs has the option regularizer.lambda1"),
        (("pretrain", "--device", "gpu"), 2, "unknown device 'gpu'"),
        (("pretrain", "--precision", "fp8"), 2, "unknown precision 'fp8'"),
        (("pretrain", "--overwrite", "yes"), 2, "unknown value of --overwrite 'yes'"),
        (("pretrain", "--augment", "batch"), 2, "unknown value of --augment 'batch'; did you mean 'batched'?"),
        (("pretrain", "--batch-size", "1"), 2, "--batch-size must be at least 2, got 1"),
        (("pretrain", "--method", "simclr+dsa-nested", "--batch-size", "4"), 2, "batches of at least 5 images"),
        (("pretrain", "--train-images", "100000"), 2, "100000 training images asked for"),
        (("pretrain", "--config", "nowhere.toml"), 3, "cannot read the configuration nowhere.toml"),
        (("pretrain", "--dataset", "imagefolder", "--data-dir", "nowhere"), 3, "nowhere"),
        (("pretrain", "--dataset", "cifar10", "--data-dir", "nowhere", "--offline"), 3, "offline"),
        (("compare", "simclr"), 2, "compare needs at least two specs"),
        (("compare", "simclr", "simclr"), 2, "the spec 'simclr' is given twice"),
        (("compare", "simclr", "byol", "--seeds", "5-3"), 2, "cannot read the seeds '5-3'"),
        (("compare", "simclr", "byol", "--primary", "cndv"), 2, "unknown primary metric 'cndv'; did you mean 'cdnv'?"),
        (("compare", "simclr", "byol", "--primary", "rankme"), 2, "'rankme' cannot carry a verdict"),
        (("compare", "simclr", "byol", "--probe", "knm"), 2, "unknown probe 'knm'; did you mean 'knn'?"),
        (("compare", "simclr", "byol", "--split", "train"), 2, "unknown split 'train'"),
        (("compare", "simclr", "byol", "--layer", "stem"), 2, "unknown layer 'stem'"),
        (("compare", "simclr", "byol[momentum=2]"), 2, "momentum"),
        (("eval", "0123"), 3, "no run '0123'"),
        (("eval",), 3, "no finished run in"),
        (("show", "0123"), 3, "no run '0123'"),
        (("list", "method"), 2, "unknown kind 'method'; did you mean 'methods'?"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    command, *rest = arguments
    trains = command in ("pretrain", "compare")
    result = dsabench(command, *(TINY if trains else ()), *rest, "--runs", tmp_path / "runs")
    assert (result.code, result.out) == (code, "")
    # What was read is said before models are built.
    said = ("synthetic: 4 classes, ", "1 pair against ", "warning: dsa starts at", "warning: dsa-nested starts at")
    (line,) = [line for line in result.err.splitlines() if not line.startswith(said)]
    assert line.startswith("dsabench: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("pretrain", "--epoch"), ("pretrain", "--seed", "-1"), ("pretrain", "--epochs", "few"), ("pretrian",)]
)
def test_a_wrong_flag_is_a_usage_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = dsabench(*arguments)
    assert (result.code, result.out) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_offline_asks_no_network_for_the_weights_of_a_prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever looks up an address is found out.
    before = "import socket\ndef refuse(*_, **__): raise SystemExit(99)\nsocket.getaddrinfo = refuse"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    prior = "simclr+dsa-nested[prior=frozen:resnet18.tv_in1k]"
    result = end(start("pretrain", *TINY, "--method", prior, "--offline", cwd=tmp_path, before=before))
    assert result.code == 2
    assert "the weights of the prior resnet18.tv_in1k are not at hand" in result.err


def test_a_run_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = dsabench("pretrain", *TINY, "--runs", tmp_path / "file" / "runs")
    assert result.code == 4
    assert result.err.splitlines()[-1].startswith("dsabench: cannot write")
    assert "Traceback" not in result.err


def test_debug_shows_where_an_error_came_from() -> None:
    result = dsabench("pretrain", "--method", "simcrl", "--debug")
    assert result.code == 2
    assert "Traceback (most recent call last)" in result.err
    assert dsabench("pretrain", "--method", "simcrl").err.count("\n") == 1


def test_pretrain_as_json_is_one_object(tmp_path: Path) -> None:
    result = ok(dsabench("pretrain", *TINY, "--method", "byol+dsa", "--seed", 3, "--json"))
    summary = json.loads(result.out)
    assert result.out.count("\n") == 1
    assert tuple(summary) == SUMMARY
    folder = Path(summary["run_dir"])
    assert folder == Path("runs/synthetic/byol+dsa") / f"s3-{summary['run_id']}"
    assert Path(summary["checkpoint"]).parent == folder / "checkpoints"
    assert Path(summary["checkpoint"]).is_file()
    assert (summary["status"], summary["epochs"]) == ("finished", 1)
    assert summary["wall_s"] > 0
    assert summary["images_per_s"] == pytest.approx(256 / summary["wall_s"])
    state = json.loads((folder / "run.json").read_text())
    assert state["weights_sha256"] == summary["weights_sha256"]
    held = ".claim-000001.json"
    assert {path.name for path in folder.iterdir()} == {held, "run.json", "config.toml", "log.csv", "checkpoints"}
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (row,) = csv.DictReader((folder / "log.csv").read_text().splitlines())
    assert set(row) >= {"epoch", "loss", "lr", "ssl", "dsa_spread", "dsa_dimensions", "wall_s", "images_per_s"}


def test_a_finished_run_is_left_as_it_is(store: Path) -> None:
    before = contents(store)
    arguments = ("pretrain", *TINY, "--method", "simclr+dsa", "--runs", store)
    result = ok(dsabench(*arguments))
    assert "simclr+dsa s0 already finished" in result.out
    assert f"--runs {store}" in result.out
    again = json.loads(ok(dsabench(*arguments, "--json", "-q")).out)
    assert again["status"] == "finished"
    assert contents(store) == before


def test_overwrite_trains_again_to_the_same_weights(store: Path) -> None:
    arguments = ("pretrain", *TINY, "--method", "simclr+dsa", "--json")
    first = json.loads(ok(dsabench(*arguments)).out)
    time = Path(first["checkpoint"]).stat().st_mtime_ns
    again = json.loads(ok(dsabench(*arguments, "--overwrite", "always")).out)
    assert Path(again["checkpoint"]).stat().st_mtime_ns > time
    assert again["weights_sha256"] == first["weights_sha256"]
    # And wherever the store is.
    elsewhere = json.loads(ok(dsabench(*arguments, "--runs", store)).out)
    assert elsewhere["weights_sha256"] == first["weights_sha256"]


def test_eval_without_a_run_names_the_newest_finished_one(store: Path, tmp_path: Path) -> None:
    result = ok(dsabench("eval", "--runs", store, "--probe", "knn5", "--output", tmp_path / "rows.csv"))
    folder = next(store.glob("*/*/*"))
    assert f"evaluating the newest finished run: simclr+dsa s0, {folder}" in result.err
    assert "rows.csv" in result.err
    assert "5-NN" in result.out


def test_eval_rows_are_tidy(store: Path, tmp_path: Path) -> None:
    run_id = next(store.glob("*/*/*")).name.partition("-")[2]
    common = ("eval", run_id[:6], "--runs", store, *QUICK)
    layers = ("--layer", "backbone", "--layer", "projector")
    table = tmp_path / "rows.csv"
    printed = json.loads(ok(dsabench(*common, *layers, "--output", table, "--json")).out)
    rows = read_csv(table)
    assert printed == [record(row) for row in rows]
    assert tuple(printed[0]) == COLUMNS
    assert len({tuple(getattr(row, name) for name in KEY) for row in rows}) == len(rows)
    assert {(row.run_id, row.method, row.regularizer, row.status) for row in rows} == {(run_id, "simclr", "dsa", "ok")}
    assert {row.layer for row in rows} == {"backbone", "projector"}
    assert {row.metric for row in rows if row.probe == "crowding"} == CORE
    assert {row.metric for row in rows if row.probe != "crowding"} == {"accuracy"}
    assert {(row.split, row.n) for row in rows} == {("test", 64)}
    for row in rows:
        assert row.value is not None
        assert row.metric != "accuracy" or 0 <= row.value <= 1
        assert row.config_hash.startswith(run_id)
        assert row.labels_used == "none"
        assert row.prior == "none"
        assert row.augment == "batched"
        assert row.wall_s is not None
        assert row.images_seen == 256
    for metric in CORE:
        assert {row.higher_is_better for row in rows if row.metric == metric} == {METRICS[metric].higher_is_better}

    # Features that are kept, or made again, give the same rows; the folder names a run as its id does.
    folder = next(store.glob("*/*/*"))
    again = json.loads(ok(dsabench("eval", folder, *common[2:], *layers, "--json")).out)
    assert again == printed
    for path in (folder / "features").iterdir():
        path.write_bytes(b"damaged")
    assert json.loads(ok(dsabench(*common, *layers, "--json")).out) == printed


def test_the_validation_split_and_the_raw_pixels_are_told_apart(store: Path) -> None:
    arguments = ("eval", "--runs", store, "--probe", "knn5", "--json")
    rows = {
        (split, layer): json.loads(ok(dsabench(*arguments, "--split", split, "--layer", layer)).out)[0]
        for split in ("test", "val")
        for layer in ("backbone", "pixels")
    }
    assert {key: (row["split"], row["layer"]) for key, row in rows.items()} == {key: key for key in rows}
    assert all(row["n"] == 64 for row in rows.values())


def test_probing_leaves_the_run_alone_but_for_its_features(store: Path) -> None:
    def kept() -> dict[Path, tuple[int, int, bytes]]:
        return {path: facts for path, facts in contents(store).items() if path.parent.name != "features"}

    before, state = kept(), torch.get_rng_state()
    ok(dsabench("eval", "--runs", store, *QUICK, "--layer", "backbone", "--layer", "projector"))
    assert kept() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_probing_changes_no_weight_and_no_buffer(store: Path) -> None:
    from dsabench.config.spec import Part
    from dsabench.data import Datasets
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.features import FeatureStore
    from dsabench.training.store import Store

    datasets = Datasets()
    run = Store(store).newest_finished()
    encoder = run_encoder(run, datasets)
    # As one that keeps nothing, so that both times are extractions.
    encoder.folder = None
    layer = encoder.layers["projector"]
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    dataset = datasets.load(run.config.data)
    stores = (FeatureStore(encoder, dataset, torch.device("cpu")) for _ in range(2))
    features, again = (store.get(Part("projector"), "test").x for store in stores)
    assert torch.equal(features, again)
    assert not layer.training
    assert not features.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


def test_a_comparison_writes_its_rows_and_its_summary_whatever_the_jobs(tmp_path: Path) -> None:
    arguments = ("compare", "simclr", "simclr+dsa-nested", *TINY, "--seeds", "0-1", *QUICK)
    one = ok(dsabench(*arguments, "--jobs", 1, "--runs", "one", "--output", "tables/one"))
    assert "2 seeds are too few, 6 would do; p = .500): too few." in " ".join(one.out.split())
    assert "tables/one.csv and tables/one-summary.csv" in one.err
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"one.csv", "one-summary.csv"}
    rows = read_csv(tmp_path / "tables" / "one.csv")
    arms = ("simclr", "simclr+dsa-nested")
    assert {row.spec for row in rows if row.similar_precision is not None} == {"simclr+dsa-nested"}
    assert {(row.spec, row.seed) for row in rows} == {(arm, seed) for arm in arms for seed in (0, 1)}
    summary = list(csv.DictReader((tmp_path / "tables" / "one-summary.csv").read_text().splitlines()))
    (primary,) = [line for line in summary if line["role"] == "primary"]
    assert (primary["metric"], primary["dataset"], primary["split"]) == ("cdnv", "synthetic", "test")

    two = ok(dsabench(*arguments, "--jobs", 2, "--runs", "two", "--output", "tables/two", "--json"))
    answer = json.loads(two.out)
    assert "): too few." in answer["finding"]
    assert (answer["rows"], answer["summary"]) == ("tables/two.csv", "tables/two-summary.csv")
    others = read_csv(tmp_path / "tables" / "two.csv")
    assert list(map(comparable, others)) == list(map(comparable, rows))

    # What is there already is not trained again, and the table can be made from it once more.
    before = contents(tmp_path / "one")
    ok(dsabench(*arguments, "--jobs", 1, "--runs", "one", "--output", "tables/again", "-q"))
    assert contents(tmp_path / "one") == before
    assert read_csv(tmp_path / "tables" / "again.csv") == rows


def test_a_run_that_fails_is_a_row_that_says_so(tmp_path: Path) -> None:
    arms = ("simclr", "simclr+dsa", "simclr[lr=1e30]")
    result = dsabench("compare", *arms, *TINY, "--seeds", "0", *QUICK, "--jobs", 1, "--output", "table")
    assert result.code == 1
    assert "1 of 3 runs failed" in result.err
    (failed,) = [row for row in read_csv(tmp_path / "table.csv") if row.status == "failed"]
    assert (failed.spec, failed.value, failed.metric, failed.n) == ("simclr[lr=1e+30]", None, "", None)
    assert "the loss is not finite" in failed.note
    # Why is said in the last lines, below the tables, once and with the label once.
    why = failed.note.removeprefix("simclr[lr=1e+30] s0: ")
    assert result.err.splitlines()[-3:] == [
        f"simclr[lr=1e+30] s0 failed: {why}",
        "wrote table.csv and table-summary.csv",
        "1 of 3 runs failed",
    ]
    assert why.startswith("the loss is not finite")
    # Three specs have no table of pairs but where it is asked for.
    assert "paired" not in result.out
    again = dsabench("compare", *arms, *TINY, "--seeds", "0", *QUICK, "--jobs", 1, "--output", "table", "--pairs")
    assert "simclr+dsa against simclr: 1 seed, paired" in again.out
    assert "simclr[lr=1e+30] against simclr: " in again.out
    # Of runs of a second nothing is said of what an arm costs.
    assert "times as long" not in " ".join(result.out.split())
    (state,) = [
        json.loads(path.read_text()) for path in tmp_path.glob(f"runs/synthetic/simclr/s0-{failed.run_id}/run.json")
    ]
    assert state["status"] == "failed"
    assert "the loss is not finite" in state["error"]
    # A failed run cannot be evaluated.
    result = dsabench("eval", failed.run_id)
    assert result.code == 3
    assert "is not finished (failed)" in result.err


def test_a_comparison_of_which_nothing_is_left(tmp_path: Path) -> None:
    arms = ("simclr[lr=1e30]", "byol[lr=1e30]")
    result = dsabench("compare", *arms, *TINY, "--seeds", "0", *QUICK, "--jobs", 1, "--output", "t")
    assert result.code == 5
    assert "no two of the specs have finished runs" in result.err
    assert "simclr[lr=1e+30] s0 failed: " in result.err
    assert result.err.splitlines()[-2:] == ["wrote t.csv", "dsabench: no two of the specs have finished runs"]
    assert any(row.status == "failed" for row in read_csv(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("kind", "registry"),
    [
        ("methods", METHODS),
        ("datasets", DATASETS),
        ("backbones", BACKBONES),
        ("probes", PROBES),
        ("metrics", METRICS),
        ("regularizers", REGULARIZERS),
    ],
)
def test_list_names_every_entry_with_its_summary(kind: str, registry: dict[str, object]) -> None:
    entries = json.loads(ok(dsabench("list", kind, "--json")).out)
    assert [entry["name"] for entry in entries] == list(registry)
    told = {"name", "summary"}
    if kind in ("probes", "metrics"):
        told |= {"formula", "direction", "cost", "source", "tier"}
    assert all(set(entry) == told and entry["summary"] for entry in entries)
    text = ok(dsabench("list", kind)).out
    assert all(name in text for name in registry)


def test_list_runs_and_show(store: Path) -> None:
    (entry,) = json.loads(ok(dsabench("list", "runs", "--runs", store, "--json")).out)
    folder = next(store.glob("*/*/*"))
    assert folder.name == f"s0-{entry['run_id']}"
    told = [entry[key] for key in ("spec", "dataset", "backbone", "epochs", "batch_size", "seed", "status", "store")]
    assert told == ["simclr+dsa", "synthetic", "resnet8w16", 1, 64, 0, "finished", str(store)]
    state = {key: value for key, value in json.loads((folder / "run.json").read_text()).items() if key != "checksum"}
    shown = json.loads(ok(dsabench("show", entry["run_id"][:4], "--runs", store, "--json")).out)
    assert shown == {"run_dir": str(folder), **state}
    text = tomllib.loads(ok(dsabench("show", entry["run_id"], "--runs", store)).out)
    assert text["weights_sha256"] == state["weights_sha256"]
    assert text["config"]["spec"] == "simclr+dsa"
    assert text["checkpoints"] == [saved["file"] for saved in state["checkpoints"]]
