"""What was said wrong is one line that says where: on the command line, in the environment or in a file."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import dsabench

from dsabench.cli.mistakes import blames, strangers
from dsabench.cli.output import table_name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DSABENCH_")]:
        monkeypatch.delenv(name)


def told(*arguments: object, env: dict[str, str] | None = None) -> str:
    """The one line on stderr of a command that is refused."""
    result = dsabench(*arguments, env=env)
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert line.startswith("dsabench: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list",), "list needs methods, datasets, backbones, probes, metrics"),
        (("list",), "as in: dsabench list methods"),
        (("show",), "as in: dsabench show simclr"),
        (("compare",), "dsabench compare simclr simclr+dsa"),
        (("tune",), "as in: dsabench tune simclr simclr+dsa --trials 16"),
        (("pretrain", "--epoch", "3"), "no such option: --epoch (Possible options: --epochs)"),
        (("pretrain", "--epoch", "3"), "see: dsabench pretrain --help"),
        (("pretrian",), "Did you mean 'pretrain'?"),
        (("pretrain", "--epochs", "few"), "invalid value for --epochs: "),
        (("pretrain", "--seed"), "option '--seed' requires an argument"),
        (("pretrain", "simclr"), "unexpected extra argument"),
        (("pretrain", "simclr+dsa"), "; did you mean --method simclr+dsa?"),
        (("doctor", "cifar10"), "; did you mean --dataset cifar10?"),
        (("pretrain", "--epochs", "ten"), "--epochs: expected a whole number of at least 1, got 'ten'; see"),
        (("pretrain", "--epochs=0"), "--epochs: expected a whole number of at least 1, got '0'; see"),
        (("pretrain", "--val-share", "x"), "--val-share: expected a number, got 'x'; see"),
        (("pretrain", "--seed", "0-3"), "got '0-3'; a run has one seed, compare --seeds takes ranges; see"),
        (("pretrain", "--lr", "0.1"), "no such option: --lr; an option of an arm is set with --set method.lr=VALUE"),
        (("pretrain", "--lambda1", "1"), "is set with --set regularizer.lambda1=VALUE"),
        (("pretrain", "--set", "lr=0.2"), "cannot read --set 'lr=0.2': did you mean --set method.lr=0.2?"),
        (("pretrain", "--set", "temperature=0.2"), "method.temperature=0.2 or regularizer.temperature=0.2?"),
        (("pretrain", "--set", "lrr=0.2"), "expected method.KEY=VALUE or regularizer.KEY=VALUE"),
        (
            ("eval", "--layer", "whiten[power=2]"),
            "power of the layer whiten must be a number above 0, at most 1, got 2",
        ),
        (("eval", "--layer", "whiten[k=2]"), "the layer 'whiten' has no option 'k'; it has layer, power"),
        (("eval", "--layer", "smooth[k=0]"), "the layer smooth must be a whole number of at least 1, got 0"),
        (
            ("pretrain", "--method", "simclr+dsa[lambda1=5]"),
            "; what was called 'dsa' in earlier versions is 'dsa-nested', which has it",
        ),
        (
            ("pretrain", "--method", "simclr+dsa[lambda9=5]"),
            "dsa has no option 'lambda9'; it has adjust, adjust_by, balance, k, pa",
        ),
        (("pretrain", "--dataset", "CIFAR10"), "unknown dataset 'CIFAR10'; did you mean 'cifar10'?"),
    ],
)
def test_a_wrong_word_is_one_line_with_what_would_do(arguments: tuple[str, ...], words: str) -> None:
    assert words in told(*arguments)


def test_an_option_that_no_form_of_a_name_has_is_of_none() -> None:
    assert "earlier versions" not in told("pretrain", "--method", "simclr+dsa[lambda9=5]")
    assert "earlier versions" not in told("pretrain", "--method", "simclr+dsa-nested[reach=0]")


@pytest.mark.parametrize("command", [("pretrain", "--dry-run"), ("doctor",), ("compare", "simclr", "byol")])
def test_a_folder_that_nothing_would_read_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    hint = "for the images in it: --dataset imagefolder --data-dir photos --data-name photos"
    assert f"--data-dir photos is not read without --dataset; {hint}" in told(*command, "--data-dir", "photos")
    # Where downloads go may stand in the environment once and for all.
    known = {"DSABENCH_DATA_DIR": "photos"}
    assert "--data-dir" not in told(*command, "--dataset", "cifar", env=known)
    assert "unknown method" in told("pretrain", "--method", "simcrl", env=known)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('epochs = "few"', "epochs='few' in f.toml: "),
        ("epochs = 0", "epochs=0 in f.toml: "),
        ("epochs = [1, 2]", "epochs='1,2' in f.toml: "),
        (
            'method = "simcrl"',
            "unknown method 'simcrl'; did you mean 'simclr'? see: dsabench list methods (method='simcrl'",
        ),
        ('method = "simclr+das"', "(method='simclr+das' in f.toml)"),
        ("threads = 2000", "this machine has {cores} cores (threads=2000 in f.toml)"),
        ('set = "lambda1"', "cannot read --set 'lambda1'"),
        ('set = ["lambda1"]', "(set=['lambda1'] in f.toml)"),
        ('seeds = "0-5"', "'seeds' in f.toml is no flag of pretrain; the file is one for: dsabench compare --config f"),
        ("epoch = 3", "unknown key 'epoch' in f.toml; did you mean 'epochs'?"),
        ("[epochs]\nfirst = 3", "'epochs' in f.toml is a table"),
    ],
)
def test_a_wrong_value_in_a_file_names_the_file_and_the_key(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "f.toml").write_text(content)
    assert words.format(cores=os.cpu_count()) in told("pretrain", "--config", "f.toml")


def test_a_wrong_value_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    few = {"DSABENCH_EPOCHS": "few"}
    assert "DSABENCH_EPOCHS='few' in the environment: " in told("pretrain", env=few)
    assert "(DSABENCH_DATASET='cifar' in the environment)" in told("pretrain", env={"DSABENCH_DATASET": "cifar"})
    # What is said on the command line is not the environment's fault, nor is what something else has wrong.
    assert "environment" not in told("pretrain", "--epochs", "many", env=few)
    right = {"DSABENCH_DATASET": "digits"}
    assert "environment" not in told("pretrain", "--method", "simcrl", env=right)
    (tmp_path / "f.toml").write_text('method = "simcrl"')
    assert "f.toml" not in told("pretrain", "--config", "f.toml", "--method", "byoll")


def test_one_value_where_a_file_may_have_a_list(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('specs = ["simclr", "byol"]\nprobe = "knm"')
    assert "unknown probe 'knm'; did you mean 'knn'?" in told("compare", "--config", "f.toml")


def test_a_variable_that_nothing_reads_is_said_once() -> None:
    result = dsabench("list", "methods", "--json", env={"DSABENCH_EPOCS": "3", "DSABENCH_RUNS": "runs"})
    assert result.code == 0
    assert (
        result.err == "warning: nothing reads the environment variable DSABENCH_EPOCS; did you mean DSABENCH_EPOCHS?\n"
    )
    (far,) = strangers({"DSABENCH_XYZ": "", "OTHER": ""}, ["DSABENCH_RUNS"])
    assert "known: DSABENCH_RUNS" in far


def test_help_names_the_variables() -> None:
    text = " ".join(dsabench("pretrain", "--help").out.split())
    for name in ("METHOD", "EPOCHS", "RUNS", "DEVICE", "THREADS"):
        assert f"[env var: DSABENCH_{name}]" in text


@pytest.mark.parametrize("command", ["pretrain", "eval", "compare", "tune", "list", "show"])
def test_help_fits_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("command.WIDTH", "60")
    lines = dsabench(command, "--help").out.splitlines()
    assert not [line for line in lines if "…" in line]
    assert all(len(line) <= 60 for line in lines)


def test_help_keeps_its_brackets() -> None:
    assert "smooth[k=20]" in dsabench("compare", "--help").out


class Flag:
    def __init__(self, name: str) -> None:
        self.opts, self.name = [f"--{name}"], name


@pytest.mark.parametrize(
    ("message", "flag", "value", "blamed"),
    [
        ("--data-dir is wrong", "data", "x", False),
        ("--data is wrong", "data", "x", True),
        ("unknown thing 'x'", "data", "x", True),
        ("unknown thing 'x'", "data", ["a", "b+x"], True),
        ("unknown thing 'x'", "data", None, False),
        ("unknown thing 'on'", "data", True, False),
    ],
)
def test_who_is_to_blame(message: str, flag: str, value: Any, blamed: bool) -> None:
    assert blames(message, Flag(flag), value) is blamed


def completed(words: str, cwd: Path) -> list[str]:
    """What bash would offer for the last of these words."""
    code = (
        "import sys\nfrom dsabench.cli import main\ntry:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    position = len(words.split(" ")) - 1
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(position), "_DSABENCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env={**os.environ, **asked}
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_bash_completes_names_and_runs_without_waiting_for_torch(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "digits" / "simclr" / "s0-3f2a00000000"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert completed("dsabench compare simc", tmp_path) == ["simclr"]
    assert completed("dsabench pretrain --method simclr+dsa-m", tmp_path) == ["simclr+dsa-minimal"]
    assert completed("dsabench pretrain --dataset dig", tmp_path) == ["digits"]
    assert completed("dsabench list met", tmp_path) == ["methods", "metrics"]
    assert completed("dsabench eval 3f", tmp_path) == ["3f2a00000000"]
    assert completed("dsabench show cdn", tmp_path) == ["cdnv"]


def test_the_name_of_a_table_is_short_and_its_own() -> None:
    assert table_name("digits", ["simclr", "simclr+dsa"]) == "results/digits-simclr-vs-simclr+dsa"
    long = [f"simclr[temperature=0.{k}]+dsa[lambda1=5]" for k in range(1, 5)]
    name = table_name("digits", long)
    assert re.fullmatch(r"results/digits-simclr\+dsa-vs-3-others-[0-9a-f]{6}", name)
    assert table_name("digits", long) == name
    assert table_name("digits", long[::-1]) != name
    # What sets it apart is never hidden in a hash.
    assert table_name("digits", ["simclr"], ["30-epochs"]) == "results/digits-simclr-30-epochs"
    assert table_name("digits", long, ["30-epochs", "noise=0.1"]) == f"{name}-30-epochs-noise-0.1"
