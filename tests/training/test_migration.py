"""What earlier versions called by other names: runs keep their identity, and no text is taken for what it was not."""

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from command import TINY, dsabench
from spelled import dsa

from dsabench.config.options import option_defaults, regularizer_class, regularizer_options
from dsabench.config.plan import plan
from dsabench.config.renames import DEFAULTS, drawn_if_not_said, in_spec, renamed, renamed_and_respelled, respelled
from dsabench.config.request import Request
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part, parse_part, parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, UsageError
from dsabench.registry import Scalar, canonical_name, identity_name
from dsabench.regularizers import REGULARIZERS
from dsabench.training.migration import current
from dsabench.training.record import sealed
from dsabench.training.run import Run
from dsabench.training.store import Store

STORES = Path(__file__).parent / "stores"
# Version 3, simclr+dsa-bank: before it had the option push, when that was 0, and with the defaults of now.
NO_PUSH, PUSH_0, PUSHED = "s0-11d5fdb929be", "s1-a87e9358a0de", "s0-c538f2133aad"
# Version 4, simclr+dsa: before it had the option spread, when that was 0, and with options.
NO_SPREAD, SPREAD_0, WITH_PUSH, SPREAD = "s0-11d5fdb929be", "s1-b76a2065a272", "s2-822e44929754", "s3-37ee7680b8d4"
# What `dsa` was before where nothing was said.
BEFORE: dict[str, Scalar] = {"weight": 1, "spread": 0, "adjust": False}


def planned(spec: str, seed: int, **changes: object) -> RunConfig:
    request = Request((parse_spec(spec),), (seed,), DataConfig(name="digits"), device="cpu", threads=1)
    (config,) = plan(replace(request, **changes), Datasets().load(request.data))  # type: ignore[arg-type]
    return config


@pytest.mark.parametrize(
    ("spec", "seed", "changes", "run_id"),
    [
        # Of results/digits-30-epochs.csv, written as +dsa.
        ("simclr+dsa-nested", 0, {"epochs": 30}, "64b4dc470de4"),
        ("byol+dsa-nested", 5, {"epochs": 30}, "ea23f9acad20"),
        # Of results/digits-tuned.csv.
        (
            "simclr[lr=0.0043,temperature=0.206,weight_decay=0.00157]+dsa-nested[k=27,lambda1=15.9,start=0.323]",
            0,
            {"epochs": 30},
            "da64a3955a21",
        ),
        (
            "swav[epsilon=0.0342,lr=0.0198,temperature=0.247,weight_decay=0.00264]"
            "+dsa-minimal[k=17,lambda1=15,start=0.238]",
            0,
            {"epochs": 30},
            "7505905d1cb8",
        ),
        # Of results/research-digits-tuned.csv, written as +dsa-bank.
        (
            "byol[lr=0.00568,momentum=0.99,weight_decay=0.00287]+dsa[adjust=off,spread=0,start=0.222,trust=local,weight=6.91]",
            20,
            {"epochs": 30},
            "5103121f5a56",
        ),
        # Of results/research-digits.csv.
        (
            "simclr+dsa[adjust=off,spread=0,weight=1]",
            10,
            {"epochs": 30, "data": DataConfig(name="digits", val_share=0.33)},
            "af2aab36c3fd",
        ),
    ],
)
def test_runs_of_before_keep_their_identity(spec: str, seed: int, changes: dict[str, object], run_id: str) -> None:
    assert planned(spec, seed, **changes).run_id == run_id


def test_dsa_and_dsa_nested_share_no_run() -> None:
    named = [name for name in REGULARIZERS if canonical_name(REGULARIZERS, name) == name]
    assert {"dsa", "dsa-nested"} < set(named)
    assert len({identity_name(REGULARIZERS, name) for name in named}) == len(named)
    assert len({planned(f"simclr+{name}", 0).run_id for name in named}) == len(named)
    assert canonical_name(REGULARIZERS, "dsa-oracle") == "dsa-nested"


def test_the_defaults_that_are_left_out_are_those_of_dsa() -> None:
    defaults = option_defaults(regularizer_class("dsa"))
    assert {name: defaults[name] for name in DEFAULTS} == dict(DEFAULTS)


def test_a_regularizer_of_before_means_what_was_trained() -> None:
    def now(text: str) -> str:
        return in_spec(text, renamed_and_respelled)

    assert now("simclr[lr=0.1]+dsa[k=8]") == "simclr[lr=0.1]+dsa-nested[k=8]"
    assert now("byol+dsa-bank[trust=none]") == f"byol+{dsa(adjust=False, weight=1, spread=0, trust='none')}"
    assert now("simclr+dsa-pull") == "simclr+dsa-pull"
    assert now("simclr") == "simclr"
    assert in_spec("simclr+dsa-nested[k=8]", respelled) == "simclr+dsa-nested[k=8]"
    # What is known to have been trained comes before what the defaults were.
    known = {"weight": 3.0, "push": 0.3, "spread": 0.1, "trust": "linear", "k": 8}
    assert str(respelled(renamed(parse_part("dsa-bank")), known)) == dsa(
        adjust=False, push=0.3, spread=0.1, trust="linear", weight=3
    )


@pytest.mark.parametrize(
    "text",
    [
        "dsa",
        "dsa[trust=none]",
        "dsa[push=0.3,weight=3]",
        "dsa[push=0]",
        "dsa[reach=0,trust=linear,weight=1.0]",
        "dsa[spread=0.03,trust=none]",
        "dsa[spread=0,trust=local]",
    ],
)
def test_dsa_of_before_has_the_options_that_it_had(text: str) -> None:
    said = parse_part(text)
    now = respelled(said)
    assert regularizer_options("dsa", now.options) == regularizer_options("dsa", {**BEFORE, **said.options})
    # In the words of now: nothing is said twice, and an option that never had another default stays as it was said.
    assert not now.options.items() & DEFAULTS.items()
    assert now.options.get("reach") == said.options.get("reach")
    assert parse_part(str(now)) == now


@pytest.mark.parametrize(
    ("version", "folder", "spec"),
    [
        (1, "simclr+dsa/s0-9e2a736d5e53", "simclr+dsa-nested[lambda1=2]"),
        (2, "simclr+dsa/s0-f29c251d3860", "simclr+dsa-nested[lambda1=2]"),
        (3, "simclr+dsa/s0-f29c251d3860", "simclr+dsa-nested[lambda1=2]"),
        (4, "simclr+dsa-nested/s0-f29c251d3860", "simclr+dsa-nested[lambda1=2]"),
        (3, f"simclr+dsa-bank/{NO_PUSH}", f"simclr+{dsa(**BEFORE)}"),
        (3, f"simclr+dsa-bank/{PUSH_0}", f"simclr+{dsa(**BEFORE)}"),
        (3, f"simclr+dsa-bank/{PUSHED}", f"simclr+{dsa(**{**BEFORE, 'push': 0.3, 'weight': 3})}"),
        (4, f"simclr+dsa/{NO_SPREAD}", f"simclr+{dsa(**BEFORE)}"),
        (4, f"simclr+dsa/{SPREAD_0}", f"simclr+{dsa(**BEFORE)}"),
        (4, f"simclr+dsa/{WITH_PUSH}", f"simclr+{dsa(**{**BEFORE, 'push': 0.3, 'weight': 3})}"),
        (4, f"simclr+dsa/{SPREAD}", f"simclr+{dsa(adjust=False, weight=1, spread=0.1, trust='none')}"),
        (5, "simclr+dsa/s0-c078ad5af4b2", "simclr+dsa[adjust=off,spread=0.05,weight=2]"),
        (6, "simclr+dsa/s0-cd0a9d9039f4", "simclr+dsa[spread=0.05,weight=2]"),
        ("6-by-neighbours", "simclr+dsa/s0-cd0a9d9039f4", "simclr+dsa[adjust_by=neighbours,spread=0.05,weight=2]"),
        (7, "simclr+dsa/s0-2bd069b104fc", "simclr+dsa[spread=0.05]"),
    ],
)
def test_a_run_of_every_version_is_found_by_what_it_is_called_now(version: int | str, folder: str, spec: str) -> None:
    store = Store(STORES / f"version{version}")
    known = Run.load(store.path / "synthetic" / folder)
    assert (str(known.config.spec), known.state["spec"]) == (spec, spec)
    assert (
        known.config.resolved.regularizer.keys()
        == option_defaults(regularizer_class(known.config.spec.regularizer.name)).keys()
    )
    data = DataConfig(name="synthetic", image_size=8)
    request = Request((parse_spec(spec),), (known.config.seed,), data, "resnet8w16", 1, 64, device="cpu", threads=1)
    (config,) = plan(request, Datasets().load(data))
    assert config.run_id == known.config.run_id
    assert store.run(config).folder == known.folder
    assert store.find(known.folder.name.rpartition("-")[2]).folder == known.folder


@pytest.mark.parametrize(
    ("of", "name", "changes"),
    [
        ("version3/synthetic/simclr+dsa-bank", PUSH_0, {"weight": 2.0}),
        ("version3/synthetic/simclr+dsa-bank", NO_PUSH, {"push": 0.3}),
        ("version3/synthetic/simclr+dsa-bank", PUSHED, {"push": 0.0}),
        ("version4/synthetic/simclr+dsa", NO_SPREAD, {"spread": 0.03}),
        ("version4/synthetic/simclr+dsa", SPREAD_0, {"trust": "none"}),
    ],
)
def test_a_record_of_before_that_was_changed_and_sealed_again_is_refused(
    of: str, name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / name
    shutil.copytree(STORES / of / name, folder)
    path = folder / "run.json"
    content = json.loads(path.read_text())
    content["config"]["resolved"]["regularizer"] |= changes
    path.write_text(json.dumps(sealed(content, path)))
    with pytest.raises(DataError, match="was changed by hand"):
        Run.load(folder)


def test_what_a_run_of_before_wrote_of_itself_trains_it_again_and_no_other(tmp_path: Path) -> None:
    shutil.copytree(STORES / "version3", tmp_path / "runs")
    folder = tmp_path / "runs" / "synthetic" / "simclr+dsa" / "s0-f29c251d3860"
    assert tomllib.loads((folder / "config.toml").read_text())["method"] == "simclr+dsa[lambda1=2]"
    result = dsabench(
        "pretrain", "--config", folder / "config.toml", "--runs", tmp_path / "runs", "--dry-run", "--json"
    )
    assert result.code == 0, result.err
    (again,) = json.loads(result.out)
    assert (again["run_id"], Path(again["run_dir"])) == ("f29c251d3860", folder)
    # A file of one's own means what it says.
    (tmp_path / "mine.toml").write_text('method = "simclr+dsa"\n')
    mine = dsabench("pretrain", "--config", tmp_path / "mine.toml", *TINY, "--threads", 1, "--dry-run", "--json")
    assert json.loads(mine.out)[0]["run_id"] not in {"f29c251d3860", "11d5fdb929be"}
    (tmp_path / "mine.toml").write_text('method = "simclr+dsa[adjust=off,spread=0,weight=1]"\n')
    mine = dsabench("pretrain", "--config", tmp_path / "mine.toml", *TINY, "--threads", 1, "--dry-run", "--json")
    assert json.loads(mine.out)[0]["run_id"] == "11d5fdb929be"


def test_a_run_that_was_trained_as_dsa_before_is_not_trained_again(tmp_path: Path) -> None:
    runs, spec = tmp_path / "runs", f"simclr+{dsa(**BEFORE)}"
    done = dsabench("pretrain", "--method", spec, *TINY, "--runs", runs, "--json", "-q")
    assert done.code == 0, done.err
    path = Path(json.loads(done.out)["run_dir"]) / "run.json"
    content = json.loads(path.read_text())
    del content["config"]["resolved"]["regularizer"]["spread"]
    content["config"]["spec"] = "simclr+dsa"
    path.write_text(json.dumps(sealed({**content, "schema_version": 4, "spec": "simclr+dsa"}, path)))
    arguments = ("compare", "simclr", spec, *TINY, "--seeds", "0", "--probe", "knn", "--jobs", "1", "--runs", runs)
    result = dsabench(*arguments, "--output", tmp_path / "table")
    assert result.code == 0, result.err
    assert (result.err.count("reused"), result.err.count("finished after")) == (1, 1)
    assert len(list(runs.glob("*/*+dsa/*/run.json"))) == 1


@pytest.mark.parametrize("store", ["version6", "version6-by-neighbours"])
def test_a_dsa_that_drew_by_default_says_so_now(store: str) -> None:
    path = STORES / store / "synthetic" / "simclr+dsa" / "s0-cd0a9d9039f4" / "run.json"
    state = json.loads(path.read_text())
    state["spec"] = state["config"]["spec"] = "simclr+dsa"
    state["config"]["resolved"]["regularizer"] |= {"spread": 0.03, "weight": 3.0}
    by = {"adjust_by": "neighbours"} if store.endswith("neighbours") else {}
    assert current(state, path)["spec"] == f"simclr+{dsa(**by, weight=3)}"


@pytest.mark.parametrize("text", ["dsa", "dsa[adjust=on,k=8]", "dsa[spread=0.1,weight=2]"])
def test_a_text_that_does_not_say_what_it_adjusted_by_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="views or neighbours"):
        drawn_if_not_said(parse_part(text))
    for by in ("views", "neighbours"):
        said = parse_part(text)
        said = Part("dsa", {**said.options, "adjust_by": by})
        before = regularizer_options("dsa", {"weight": 3, **said.options})
        assert regularizer_options("dsa", drawn_if_not_said(said).options) == before
    assert str(drawn_if_not_said(parse_part("dsa[adjust=off]"))) == dsa(adjust=False, weight=3)
