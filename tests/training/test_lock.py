"""Who works on a run: one process alone, known while it works, and never from what a dead one left."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dsabench.errors import DataError, Interrupted, StorageError
from dsabench.signals import Stop
from dsabench.training import lock
from dsabench.training.lock import Claim, Holder, acquire, claim_path, holder, is_held, newest_number, waiting

WORKS = """
import sys
from pathlib import Path
from dsabench.signals import Stop
from dsabench.training.lock import acquire
with acquire(Path(sys.argv[1]), Stop()):
    print("held", flush=True)
    input()
"""


def foreign(folder: Path, number: int = 1, silent_s: float = 0.0, **said: object) -> None:
    """A claim that a process on another machine made, and last showed that it lives so long ago."""
    path = claim_path(folder, number)
    path.write_text(json.dumps({"machine": "elsewhere", "pid": 7, "host": "node9", "command": "x", "since": 0} | said))
    heard = time.time() - silent_s
    os.utime(path, (heard, heard))


def test_the_holder_is_known_for_as_long_as_it_lives(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "none")
    assert holder(tmp_path) is None
    command = [sys.executable, "-c", WORKS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.host) == (process.pid, socket.gethostname())
        assert str(tmp_path) in found.command
        # No heartbeat is wanted of a process that can be seen.
        os.utime(claim_path(tmp_path, 1), (1, 1))
        assert is_held(tmp_path)
        process.send_signal(signal.SIGKILL)
    # Its claim is left, and means nothing.
    assert newest_number(tmp_path) == 1
    assert holder(tmp_path) is None
    with acquire(tmp_path, Stop()) as claim:
        assert claim.number == 2
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_how_long_the_holder_has_written_nothing(tmp_path: Path) -> None:
    foreign(tmp_path, since=time.time() - 100)
    found = holder(tmp_path)
    assert found is not None
    assert 100 <= found.silent_s < 130
    (tmp_path / "run.json").write_text("{}")
    found = holder(tmp_path)
    assert found is not None
    assert found.silent_s < 30


def test_a_claim_from_elsewhere_counts_until_nobody_has_heard_of_it_for_ten_minutes(tmp_path: Path) -> None:
    foreign(tmp_path, silent_s=lock.SILENCE_S - 60)
    assert is_held(tmp_path)
    foreign(tmp_path, silent_s=lock.SILENCE_S + 60)
    assert not is_held(tmp_path)
    with acquire(tmp_path, Stop()) as claim:
        assert claim.number == 2


def test_silence_is_measured_by_the_clock_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 4e9)
    foreign(tmp_path, silent_s=4e9 - time.time_ns() / 1e9)
    assert is_held(tmp_path)
    # Where that may not be asked, ours has to do.
    monkeypatch.setattr(Path, "touch", refused)
    assert not is_held(tmp_path)


def test_the_heartbeat_is_seen_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.01)
    with acquire(tmp_path, Stop()):
        os.utime(claim_path(tmp_path, 1), (1, 1))
        end = time.monotonic() + 10
        while claim_path(tmp_path, 1).stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_of_many_that_find_a_dead_claim_one_gets_the_next(tmp_path: Path) -> None:
    foreign(tmp_path, silent_s=1e6)
    made: list[Claim] = []
    ready = threading.Barrier(8)

    def race() -> None:
        ready.wait()
        with suppress(FileExistsError):
            made.append(lock.create(tmp_path, 2))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [claim.number for claim in made] == [2]
    made[0].release()


def test_who_was_slower_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It looks before another one has made a claim, and again.
    seen = [0]
    real = lock.newest_number
    foreign(tmp_path, silent_s=1e6)
    monkeypatch.setattr(lock, "newest_number", lambda folder: seen.pop() if seen else real(folder))
    monkeypatch.setattr(lock, "counts", lambda *_: False)
    with acquire(tmp_path, Stop()) as claim:
        assert claim.number == 2


def test_whoever_was_given_up_writes_no_more(tmp_path: Path) -> None:
    with acquire(tmp_path, Stop()) as claim:
        claim.check()
        foreign(tmp_path, number=2)
        with pytest.raises(DataError, match="another process took over"):
            claim.check()
    # What it says at its end is not said of the other's claim.
    assert is_held(tmp_path)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"pid": "x", "host": 1, "command": 2, "since": 3}'])
def test_a_claim_that_cannot_be_read_names_nobody_and_counts_while_it_is_fresh(note: str, tmp_path: Path) -> None:
    claim_path(tmp_path, 1).write_text(note)
    assert is_held(tmp_path)
    assert holder(tmp_path) is None
    os.utime(claim_path(tmp_path, 1), (1, 1))
    assert not is_held(tmp_path)


def test_the_line_names_the_process_and_where_it_is_if_not_here() -> None:
    here = Holder(7, socket.gethostname(), "dsabench pretrain", 3.4)
    line = "waiting: process 7 works on x and has written nothing for 3 s: dsabench pretrain"
    assert waiting(Path("x"), here) == line
    assert waiting(Path("x"), here._replace(host="node9")) == line.replace("process 7", "process 7 on node9")
    assert waiting(Path("x"), None) == "waiting: another process works on x"


def refused(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_folder_that_cannot_be_asked_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(tmp_path)
    monkeypatch.setattr(os, "scandir", refused)
    assert not is_held(tmp_path)
    with pytest.raises(StorageError, match="Permission denied"):
        acquire(tmp_path, Stop())


def test_a_full_disk_leaves_no_claim_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            acquire(tmp_path, Stop())
    assert newest_number(tmp_path) == 0
    claim = acquire(tmp_path, Stop())
    # To give it back takes no room.
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        claim.release()
    assert not is_held(tmp_path)
    # Of a folder that was removed meanwhile nothing comes back.
    claim = acquire(tmp_path / "run", Stop())
    shutil.rmtree(tmp_path / "run")
    claim.release()
    assert not (tmp_path / "run").exists()


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
    with acquire(tmp_path, Stop()), pytest.raises(Interrupted):
        acquire(tmp_path, stop)
    assert capsys.readouterr().err == "waiting\n" * 3


def test_who_waits_does_not_say_so_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop, slept = Stop(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            stop.request(signal.SIGTERM)

    with acquire(tmp_path, Stop()):
        monkeypatch.setattr(time, "sleep", sleep)
        with pytest.raises(Interrupted):
            acquire(tmp_path, stop)
    assert slept == [lock.WAIT_S] * 3
    assert capsys.readouterr().err.count("waiting") == 1


def test_processes_are_told_apart_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = lock.process_began(os.getpid())
    assert began == lock.process_began(os.getpid()) is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        # It has ended and was not waited for: a zombie works on nothing.
        end = time.monotonic() + 30
        while lock.process_began(ended.pid) is not None:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert lock.process_began(ended.pid) is None
    assert lock.process_began("x") is None
    monkeypatch.setattr(lock, "PROC", tmp_path)
    assert lock.machine() == socket.gethostname()
    assert lock.process_began(os.getpid()) is not None
    assert lock.process_began(ended.pid) is None
    monkeypatch.setattr(os, "kill", refused)
    assert lock.process_began(1) is not None
