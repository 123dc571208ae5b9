import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command import TINY, dsabench
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dsabench.config.optimization import LATER
from dsabench.config.plan import beside_defaults, plan
from dsabench.config.request import Request
from dsabench.config.run_config import Resolved, RunConfig
from dsabench.config.spec import Part, Spec, parse_part, parse_seeds, parse_spec, parse_value
from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.errors import UsageError
from dsabench.files import to_toml
from dsabench.registry import Scalar
from dsabench.regularizers import REGULARIZERS

CONFIG = RunConfig(
    data=DataConfig(name="cifar10", folder="/somewhere/images", title="pets", train_images=10_000, image_size=32),
    spec=parse_spec("simclr[lr=0.3,temperature=0.2]+dsa-nested[lambda1=5,scores=off]"),
    backbone="resnet18",
    epochs=200,
    batch_size=256,
    seed=3,
    device="cuda",
    precision="bf16",
    threads=2,
    deterministic=True,
    resolved=Resolved(
        method={"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2},
        regularizer={"lambda1": 5, "lambda2": 1.0, "scores": False, "similarity": "nested"},
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4, "scale_lr": True},
        views="asymmetric",
    ),
    protocol=1,
)
# Another value of every field of the identity.
OTHER: dict[str, Any] = {
    "data": CONFIG.data.model_copy(update={"name": "cifar100"}),
    "spec": parse_spec("byol+dsa-nested"),
    "backbone": "resnet50",
    "epochs": 201,
    "batch_size": 512,
    "seed": 4,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "deterministic": False,
    "augment": "reference",
    "compile": True,
    "protocol": 2,
}
OTHER_DATA: dict[str, Any] = {
    "name": "stl10",
    "train_images": None,
    "subset": "random",
    "image_size": 64,
    "val_share": 0.2,
    "group_by": "(p[0-9]+)_",
    "contaminate": "noise=0.1",
    "content": "ab12",
}
OTHER_RESOLVED: dict[str, Any] = {
    "method": {"temperature": 0.20000000000000004},
    "regularizer": {"scores": True},
    "optimizer": {"weight_decay": 0.0},
    "views": "symmetric",
}

names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,11}", fullmatch=True)
words = st.from_regex(r"[A-Za-z0-9_.:/@~-]{1,20}", fullmatch=True)


def is_word(text: str) -> bool:
    """Whether a text means itself: it is neither a number nor a switch."""
    try:
        float(text)
    except ValueError:
        return text.lower() not in ("on", "off", "true", "false")
    return False


values: st.SearchStrategy[Scalar] = st.one_of(
    st.booleans(),
    st.integers(min_value=1 - 2**53, max_value=2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer() or abs(x) >= 2**53),
    words.filter(is_word),
)
parts = st.builds(Part, names, st.dictionaries(keys, values, max_size=4))
specs = st.builds(Spec, parts, parts)


def typed(part: Part) -> dict[str, tuple[type, Scalar]]:
    """Options with their types, since 1 == True == 1.0."""
    return {key: (type(value), value) for key, value in part.options.items()}


@given(specs)
def test_a_spec_is_text_that_round_trips(spec: Spec) -> None:
    read = parse_spec(str(spec))
    assert read == spec
    assert str(read) == str(spec)
    assert typed(read.method) == typed(spec.method)
    assert typed(read.regularizer) == typed(spec.regularizer)


@given(parts)
def test_the_order_of_the_options_does_not_matter(part: Part) -> None:
    backwards = Part(part.name, dict(reversed(part.options.items())))
    assert str(backwards) == str(part)
    assert parse_part(f" {part} ") == part


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("simclr", "simclr"),
        ("simclr+none", "simclr"),
        ("simclr[]", "simclr"),
        (" simclr + dsa ", "simclr+dsa"),
        ("simclr[temperature=0.20]", "simclr[temperature=0.2]"),
        ("simclr[ b = 1 , a = TRUE ]", "simclr[a=on,b=1]"),
        ("byol[lr=1e-3]+dsa[lambda1=5.0]", "byol[lr=0.001]+dsa[lambda1=5]"),
        ("byol[lr=1e+30]+dsa", "byol[lr=1e+30]+dsa"),
        ("simclr+dsa[prior=frozen:resnet18.tv_in1k@a/b-c.pt]", "simclr+dsa[prior=frozen:resnet18.tv_in1k@a/b-c.pt]"),
        ("simclr+dsa[lambda1=-0.0,scores=False]", "simclr+dsa[lambda1=0,scores=off]"),
    ],
)
def test_specs_have_one_text(text: str, canonical: str) -> None:
    assert str(parse_spec(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "+", "simclr+", "+dsa", "simclr+dsa+dsa", "sim clr", "simclr dsa"),
        *("simclr[", "simclr]", "simclr[a]", "simclr[a=]", "simclr[=1]", "simclr[a=1]x", "simclr[[a=1]]"),
        *("simclr[a=1,a=2]", "simclr[a-b=1]", "simclr[a=b c]", "simclr[a=nan]", "simclr[a=-inf]", "simclr[a='x']"),
        *("simclr[a=1\n]+x]", "simclr[a=1][b=2]", "../simclr"),
    ],
)
def test_what_is_no_spec_is_a_usage_error_that_quotes_it(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read|is given twice|not a finite number"):
        parse_spec(text)


def test_values_have_types() -> None:
    read = {text: parse_value(text) for text in ("on", "Off", "TRUE", "false", "3", "3.0", "-3", "1e3", "0.5", "ema")}
    assert list(read.values()) == [True, False, True, False, 3, 3, -3, 1000, 0.5, "ema"]
    assert [type(value) for value in read.values()] == [bool] * 4 + [int] * 4 + [float, str]


@given(st.sets(st.integers(min_value=0, max_value=10_000), min_size=1, max_size=20))
def test_seeds_are_a_sorted_list_without_repeats(seeds: set[int]) -> None:
    text = ",".join(map(str, [*seeds, *seeds]))
    assert parse_seeds(text) == sorted(seeds)


@given(st.integers(min_value=0, max_value=1_000), st.integers(min_value=0, max_value=50))
def test_a_range_of_seeds_has_both_ends(first: int, more: int) -> None:
    assert parse_seeds(f"{first}-{first + more}") == list(range(first, first + more + 1))
    assert parse_seeds(f" {first} - {first + more} , {first}") == list(range(first, first + more + 1))


@pytest.mark.parametrize("text", ["", "a", "-1", "5-3", "1,,2", "0-", "1.5", "0-2-4", "0-1000000", "1;2"])
def test_what_is_no_list_of_seeds_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="seeds"):
        parse_seeds(text)


def test_a_run_keeps_its_identity_over_versions() -> None:
    # If this changes, every run store that exists is orphaned: raise PROTOCOL_VERSION, and say so in the CHANGELOG.
    assert CONFIG.run_id == "1536a092a2a8"
    assert CONFIG.config_hash.startswith(CONFIG.run_id)
    assert len(CONFIG.config_hash) == 64


def changed(**update: Any) -> RunConfig:
    return CONFIG.model_copy(update=update)


def test_where_the_data_lie_and_what_they_are_called_is_no_part_of_the_identity_and_all_else_is() -> None:
    for update in ({"folder": "/elsewhere"}, {"folder": None}, {"title": "plants"}, {"title": None}):
        assert changed(data=CONFIG.data.model_copy(update=update)).run_id == CONFIG.run_id
    assert {*OTHER, "resolved"} == set(RunConfig.model_fields)
    assert {*OTHER_DATA, "folder", "title"} == set(DataConfig.model_fields)
    assert set(OTHER_RESOLVED) == set(Resolved.model_fields)
    hashes = [CONFIG.config_hash]
    hashes += [changed(**{name: value}).config_hash for name, value in OTHER.items()]
    hashes += [
        changed(data=CONFIG.data.model_copy(update={name: value})).config_hash for name, value in OTHER_DATA.items()
    ]
    for name, change in OTHER_RESOLVED.items():
        known = getattr(CONFIG.resolved, name)
        resolved = CONFIG.resolved.model_copy(
            update={name: {**known, **change} if isinstance(change, dict) else change}
        )
        hashes.append(changed(resolved=resolved).config_hash)
    assert len(set(hashes)) == len(hashes) == 1 + len(OTHER) + len(OTHER_DATA) + len(OTHER_RESOLVED)


def test_the_identity_is_of_what_was_resolved_and_not_of_how_it_was_said() -> None:
    said = parse_spec("simclr[hidden_dim=2048,lr=0.3,temperature=0.2]+dsa-nested[lambda1=5,lambda2=1,scores=off]")
    assert changed(spec=said).run_id == CONFIG.run_id
    resolved = CONFIG.resolved.model_copy(update={"regularizer": CONFIG.resolved.regularizer | {"lambda2": 1}})
    assert changed(resolved=resolved).run_id == CONFIG.run_id
    # A name that stands for another with options is that with these options.
    assert changed(spec=parse_spec("simclr+dsa-no-scores")).run_id == CONFIG.run_id
    assert changed(spec=parse_spec("simclr+koleo")).run_id != CONFIG.run_id


def test_an_option_that_came_later_leaves_the_identity_at_the_value_that_changes_nothing() -> None:
    resolved = CONFIG.resolved
    for half, later in (("regularizer", REGULARIZERS["dsa-nested"].later), ("optimizer", LATER)):
        assert later
        for name, value in later.items():
            said = {**getattr(resolved, half), name: value}
            assert changed(resolved=resolved.model_copy(update={half: said})).run_id == CONFIG.run_id
            other = said | {name: value + 1 if isinstance(value, int | float) else "other"}
            assert changed(resolved=resolved.model_copy(update={half: other})).run_id != CONFIG.run_id


def test_the_order_of_options_is_no_part_of_the_identity() -> None:
    resolved = CONFIG.resolved.model_dump()
    backwards = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value for name, value in resolved.items()
    }
    assert CONFIG.model_copy(update={"resolved": Resolved(**backwards)}).run_id == CONFIG.run_id


def test_a_configuration_is_the_same_after_json() -> None:
    again = RunConfig.model_validate(json.loads(json.dumps(CONFIG.model_dump())))
    assert again == CONFIG
    assert again.config_hash == CONFIG.config_hash
    assert again.spec == parse_spec("simclr[lr=0.3,temperature=0.2]+dsa-nested[lambda1=5,scores=off]")
    assert again.label == "simclr[lr=0.3,temperature=0.2]+dsa-nested[lambda1=5,scores=off] s3"
    assert again.folder(Path("runs")) == Path("runs", "pets", "simclr+dsa-nested", f"s3-{CONFIG.run_id}")


def test_a_configuration_cannot_be_changed_nor_hold_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CONFIG.seed = 4  # type: ignore[misc]
    for wrong in ({"seed": "3"}, {"epochs": 1.5}, {"device": "tpu"}, {"colour": "red"}, {"deterministic": 1}):
        with pytest.raises(ValidationError):
            RunConfig.model_validate(CONFIG.model_dump() | wrong)


def planned(*arguments: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What `pretrain` would do."""
    result = dsabench("pretrain", *arguments, "--dry-run", "--json", env=env)
    assert result.code == 0, result.err
    (plan,) = json.loads(result.out)
    assert isinstance(plan, dict)
    return plan


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--method", "byol[lr=1e-4,epochs=2]+dsa-nested[scores=off]", "--seed", "7", "--set", "method.momentum=0.5"),
        ("--method", "simclr+dsa-nested", "--set", "regularizer.similarity=shared", "--train-images", "64"),
        ("--method", "random", "--precision", "bf16", "--deterministic"),
        ("--train-images", "64", "--subset", "random"),
        ("--method", "simclr+dsa", "--augment", "reference"),
    ],
)
def test_a_runs_config_toml_is_the_run_again(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ours = dsabench("pretrain", *TINY, *arguments, "--runs", tmp_path / "runs", "--json")
    assert ours.code == 0, ours.err
    summary = json.loads(ours.out)
    folder = Path(summary["run_dir"])
    again = planned("--config", folder / "config.toml", "--runs", tmp_path / "runs")
    assert again["run_id"] == summary["run_id"]
    assert again["run_dir"] == summary["run_dir"]
    config = RunConfig.model_validate(json.loads((folder / "run.json").read_text())["config"])
    assert config.run_id == summary["run_id"] == folder.name.partition("-")[2]
    assert tomllib.loads(to_toml(config.flags())) == tomllib.loads((folder / "config.toml").read_text())


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text('seed = 1\nmethod = "byol"\nepochs = 3\n')
    tiny = [word for word in TINY if word not in ("--epochs", "1")]
    env = {"DSABENCH_SEED": "2", "DSABENCH_METHOD": "barlow_twins"}
    common = (*tiny, "--runs", tmp_path / "runs")
    steps = 4
    assert (plan := planned(*common))["run"] == "simclr s0"
    assert plan["steps"] == 60 * steps
    assert (plan := planned(*common, "--config", file))["run"] == "byol s1"
    assert plan["steps"] == 3 * steps
    assert (plan := planned(*common, "--config", file, env=env))["run"] == "barlow_twins s2"
    assert plan["steps"] == 3 * steps
    flags = ("--seed", 4, "--method", "simclr", "--epochs", 5)
    # Wherever the file is named.
    for arguments in (("--config", file, *flags), (*flags, "--config", file)):
        assert (plan := planned(*common, *arguments, env=env))["run"] == "simclr s4"
        assert plan["steps"] == 5 * steps
    assert not (tmp_path / "runs").exists()


def test_a_list_in_the_file_is_a_flag_given_more_than_once(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(
        'specs = ["simclr", "simclr+dsa"]\nseeds = [0, 2]\nset = ["method.temperature=0.3", "regularizer.k=7"]\n'
    )
    result = dsabench("compare", "--config", file, *TINY, "--runs", tmp_path / "runs", "--dry-run", "--json")
    assert result.code == 0, result.err
    arms = ("simclr[temperature=0.3]", "simclr[temperature=0.3]+dsa[k=7]")
    assert [plan["run"] for plan in json.loads(result.out)] == [f"{arm} s{seed}" for seed in (0, 2) for arm in arms]


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("epoch = 3\n", 2, "unknown key 'epoch' in {file}; did you mean 'epochs'?"),
        ('config = "x.toml"\n', 2, "unknown key 'config' in {file}"),
        ("zzzzz = 1\n", 2, "unknown key 'zzzzz' in {file}; known: augment, backbone, "),
        ("epochs = \n", 3, "the configuration {file} is not valid TOML"),
        (None, 3, "cannot read the configuration {file}: No such file or directory"),
        ('method = "simcrl"\n', 2, "unknown method 'simcrl'; did you mean 'simclr'?"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(
    content: str | None, code: int, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "suite.toml"
    if content is not None:
        file.write_text(content)
    result = dsabench("pretrain", "--config", file, *TINY, "--runs", tmp_path / "runs")
    assert result.code == code
    assert result.out == ""
    assert result.err.startswith(f"dsabench: {message.format(file=file)}")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def configured(*specs: str, **more: Any) -> list[RunConfig]:
    request = Request(tuple(map(parse_spec, specs)), data=DataConfig(name="synthetic"), **more)
    return plan(request, load_dataset("synthetic"))


def test_an_option_that_method_and_optimizer_both_have_is_the_methods() -> None:
    (config,) = configured("byol[momentum=0.5,optimizer=sgd]")
    assert (config.resolved.method["momentum"], config.resolved.optimizer["momentum"]) == (0.5, 0.9)
    (config,) = configured("simclr[momentum=0.5,optimizer=sgd]")
    assert config.resolved.optimizer["momentum"] == 0.5


def test_a_default_that_is_spelled_out_is_the_same_run_and_is_refused_beside_it() -> None:
    (plain,) = configured("simclr")
    (spelled,) = configured(f"simclr[temperature={plain.resolved.method['temperature']},lr=0.002]")
    assert spelled.config_hash == plain.config_hash
    assert (str(plain.spec), str(spelled.spec)) == ("simclr", "simclr[lr=0.002,temperature=0.5]")
    with pytest.raises(UsageError, match=re.escape("'simclr' and 'simclr[temperature=0.5]' are the same run")):
        configured("simclr", "simclr[temperature=0.5]")


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"epochs": 30}, "30-epochs"),
        ({"backbone": "resnet18"}, "resnet18"),
        ({"batch_size": 64}, "batch-64"),
        ({"augment": "reference"}, "reference-views"),
        ({"precision": "bf16"}, "bf16"),
        ({"data": DataConfig(train_images=100)}, "100-images"),
        ({"data": DataConfig(image_size=12)}, "12-px"),
        ({"data": DataConfig(val_share=0.2)}, "val-0.2"),
        ({"data": DataConfig(contaminate="noise=0.1")}, "noise=0.1"),
    ],
)
def test_what_departs_from_the_defaults_is_a_word_and_a_default_spelled_out_is_none(
    asked: dict[str, Any], word: str
) -> None:
    dataset = load_dataset(DataConfig(), offline=True)
    specs = tuple(map(parse_spec, ("random", "simclr", "simclr+dsa")))
    spelled = {"backbone": "resnet8", "epochs": 60, "batch_size": 256, "precision": "fp32", "device": "cpu"}
    assert beside_defaults(Request(specs, device="cpu"), dataset) == []
    assert beside_defaults(Request(specs, **spelled), dataset) == []
    assert beside_defaults(Request(specs, seeds=(3, 4), threads=2, device="cpu"), dataset) == []
    assert beside_defaults(Request(specs, **spelled | asked), dataset) == [word]
