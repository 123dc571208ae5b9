"""Who works on a run: known while the lock is held, and never from what a dead process left."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from dsabench.errors import Interrupted, StorageError
from dsabench.signals import Stop
from dsabench.training import lock
from dsabench.training.lock import Holder, acquire, holder, is_held, noted, waiting

WORKS = """
import sys
from pathlib import Path
from filelock import FileLock
from dsabench.training.lock import noted
folder = Path(sys.argv[1])
with FileLock(folder / ".lock"), noted(folder):
    print("held", flush=True)
    input()
"""


def test_the_holder_is_known_for_as_long_as_it_lives(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert holder(tmp_path) is None
    command = [sys.executable, "-c", WORKS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.host) == (process.pid, socket.gethostname())
        assert str(tmp_path) in found.command
        # What it writes is a sign of life.
        past = time.time() - 100
        os.utime(tmp_path / lock.NOTE, (past, past))
        assert 100 <= lock.described(tmp_path).silent_s < 130  # type: ignore[union-attr]
        (tmp_path / "run.json").write_text("{}")
        assert lock.described(tmp_path).silent_s < 30  # type: ignore[union-attr]
        process.send_signal(signal.SIGKILL)
    # Its note is left, and means nothing.
    assert (tmp_path / lock.NOTE).exists()
    assert holder(tmp_path) is None
    with FileLock(tmp_path / lock.LOCK), noted(tmp_path):
        assert is_held(tmp_path)
    assert not (tmp_path / lock.NOTE).exists()


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"pid": "x", "host": 1, "command": 2}'])
def test_a_note_that_cannot_be_read_names_nobody(note: str, tmp_path: Path) -> None:
    (tmp_path / lock.NOTE).write_text(note)
    with FileLock(tmp_path / lock.LOCK):
        assert is_held(tmp_path)
        assert holder(tmp_path) is None
    assert waiting(tmp_path, None) == f"waiting: another process works on {tmp_path}"


def test_the_line_names_the_process_and_where_it_is_if_not_here() -> None:
    here = Holder(7, socket.gethostname(), "dsabench pretrain", 3.4)
    line = "waiting: process 7 works on x and has written nothing for 3 s: dsabench pretrain"
    assert waiting(Path("x"), here) == line
    assert waiting(Path("x"), here._replace(host="node9")) == line.replace("process 7", "process 7 on node9")


def test_a_lock_that_cannot_be_asked_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / lock.LOCK).touch()

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", fail)
    assert not is_held(tmp_path)
    with pytest.raises(StorageError, match="Permission denied"):
        acquire(FileLock(tmp_path / lock.LOCK), tmp_path, Stop())


def test_who_waits_says_so_again_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "WAIT_S", 0.01)
    monkeypatch.setattr(lock, "REMIND_S", 0.0)
    stop, said = Stop(), []

    def line(*_: object) -> str:
        said.append(1)
        if len(said) == 3:
            stop.request(signal.SIGTERM)
        return "waiting"

    monkeypatch.setattr(lock, "waiting", line)
    with FileLock(tmp_path / lock.LOCK), pytest.raises(Interrupted):
        acquire(FileLock(tmp_path / lock.LOCK), tmp_path, stop)
    assert capsys.readouterr().err == "waiting\n" * 3
