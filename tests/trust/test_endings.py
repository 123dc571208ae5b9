"""However a command ends: one line on stderr at most, and an exit code of the list."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from command import TINY, Result, dsabench

from dsabench import cli
from dsabench.cli import UNEXPECTED, as_known
from dsabench.errors import DsabenchError, RunFailed, StorageError
from dsabench.evaluation.evaluate import LayerEvaluation

LONG = "x" * 300


def one_line(result: Result, code: int, message: str) -> None:
    assert (result.code, result.out) == (code, ""), result
    # What was read of the data may stand before it.
    *before, last = result.err.splitlines()
    assert last.startswith("dsabench: ")
    assert not [line for line in before if line.startswith(("dsabench: ", "Traceback", " "))]
    assert message in last


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list", "runs", "--runs", LONG), 4, "File name too long"),
        (("show", LONG), 4, "File name too long"),
        (("pretrain", *TINY, "--runs", LONG), 4, "File name too long"),
        (("pretrain", *TINY, "--seed", "1" * 400), 4, "File name too long"),
        (("pretrain", "--config", LONG), 3, "File name too long"),
        (("compare", "simclr", "byol", "--seeds", "1" * 5000), 2, "cannot read the seeds"),
        (("pretrain", "--threads", "999999999999"), 2, "--threads must lie in 1 to"),
        (("eval", "--threads", "999999999999"), 2, "--threads must lie in 1 to"),
        (("pretrain", "--image-size", "20000", "--dry-run"), 1, "there is not enough memory"),
        (("pretrain", "--method", "simclr[hidden_dim=9007199254740992]", "--dry-run"), 2, "must be an integer"),
        (("pretrain", "--method", "simclr[hidden_dim=9007199254740991]", "--dry-run"), 1, "not enough memory"),
        (("pretrain", "--method", "moco_v2[queue_size=4503599627370496]", "--dry-run"), 1, "not enough memory"),
        (("pretrain", "--data-dir", "\udcff\udcfe"), 2, "is not UTF-8"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line(dsabench(*arguments), code, message)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 1000 + "]" * 1000, "seed = " + "1" * 5000, "seed = \xff", "a" * 9, "a = 1e999999999\n[a]"]
)
def test_a_toml_that_cannot_be_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(text.encode("latin-1"))
    one_line(dsabench("pretrain", "--config", tmp_path / "x.toml"), 3, "is not valid TOML")


@pytest.mark.parametrize("call", ["unlink", "mkdir", "replace", "fsync", "scandir"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC])
def test_a_call_that_the_system_refuses_is_one_line_and_code_4(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("pretrain", *TINY, "--method", "random", "--runs", tmp_path / "runs", "-q")
    assert dsabench(*arguments).code == 0

    def fail(*names: Any, **_: object) -> None:
        raise OSError(code, os.strerror(code), str(names[0]) if names else None)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        one_line(dsabench(*arguments, "--overwrite", "always"), 4, os.strerror(code) if code == errno.EIO else "")
    assert dsabench(*arguments).code == 0


def test_a_defect_is_called_one_and_shown_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr(cli.listing, "listing", fail)
    one_line(dsabench("list", "methods"), 1, f"{UNEXPECTED}: ZeroDivisionError: division by zero;")
    shown = dsabench("list", "methods", "--debug")
    assert shown.code == 1
    assert "Traceback" in shown.err


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EIO, "Input/output error", "x"), StorageError),
        (OSError("told nothing"), StorageError),
        (MemoryError(), RunFailed),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), RunFailed),
        (ValueError("what"), DsabenchError),
    ],
)
def test_what_is_known_of_an_error(error: Exception, kind: type[DsabenchError]) -> None:
    assert type(as_known(error)) is kind


COMMAND = "import sys\nfrom dsabench.cli import main\nmain()"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it is a device of Linux")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_a_stream_is_code_4_and_no_traceback(stream: str) -> None:
    words = ["list", "methods"] if stream == "stdout" else ["list", "nothing"]
    with open("/dev/full", "w") as full:
        other = "stderr" if stream == "stdout" else "stdout"
        streams: dict[str, Any] = {stream: full, other: subprocess.PIPE}
        done = subprocess.run([sys.executable, "-c", COMMAND, *words], **streams, text=True, check=False)
    if stream == "stdout":
        assert done.returncode == 4
        assert done.stderr == (
            "dsabench: cannot use: No space left on device; check the path, the disk and permissions\n"
        )
    else:
        # Nobody can be told, but the code stays.
        assert (done.returncode, done.stdout) == (2, "")


def test_a_reader_that_has_gone_is_no_error() -> None:
    command = [sys.executable, "-c", COMMAND, "list", "methods"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGHUP, 143)]
)
def test_eval_ends_where_a_signal_finds_it(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert dsabench("pretrain", *TINY, "--method", "random", "--runs", runs, "-q").code == 0

    def forever(*_: object) -> None:
        alarm.start()
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(LayerEvaluation, "result", forever)
    sent: list[float] = []
    alarm = threading.Timer(0.2, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), number)))
    result = dsabench("eval", "--runs", runs, "--probe", "knn")
    assert time.monotonic() - sent[0] < 2
    assert result.code == code
    assert result.err.splitlines()[-1].startswith("dsabench: interrupted")
