import errno
import fcntl
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsabench.errors import DataError, StorageError
from dsabench.files import (
    check_writable,
    read_json,
    sha256_bytes,
    sha256_file,
    slug,
    to_toml,
    write_atomic,
    write_new,
)

SCALARS = st.one_of(
    st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False, allow_infinity=True)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=4)
INNER = st.dictionaries(st.text(), VALUES, max_size=3)
TABLES = st.dictionaries(st.text(), VALUES | INNER, max_size=3)
DOCUMENTS = st.dictionaries(st.text(), VALUES | TABLES, max_size=5)


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.json"
    write_atomic(path, "first")
    write_atomic(path, "zweite Fassung, länger\n")
    assert path.read_bytes() == "zweite Fassung, länger\n".encode()
    write_atomic(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    write_atomic(path, (bytes([part]) for part in range(5)))
    assert path.read_bytes() == b"\0\1\2\3\4"
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


def test_write_atomic_gives_the_permissions_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomic(tmp_path / "atomic", "")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_write_atomic_syncs_the_file_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    write_atomic(tmp_path / "x", "content")
    assert events == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "full; free some space"),
        (errno.EDQUOT, "full; free some space"),
        (errno.EACCES, "permission denied; make"),
        (errno.EROFS, "permission denied; make"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_write_atomic_failure_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, words: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=re.escape(str(path))) as caught:
        write_atomic(path, "new")
    assert words in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_interrupted_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/run\.json"):
        write_atomic(tmp_path / "file" / "run.json", "")


@settings(deadline=None)
@given(DOCUMENTS)
def test_toml_round_trips(document: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(document)) == document


def test_toml_is_pleasant_to_read() -> None:
    text = to_toml(
        {
            "dataset": "digits",
            "options": {"temperature": 0.2, "inner": {"odd key": [1, 2], "none": None}},
            "learning_rate": 1e-05,
            "amp": False,
            "resume": None,
        }
    )
    assert text == (
        'dataset = "digits"\nlearning_rate = 1e-05\namp = false\n\n'
        '[options]\ntemperature = 0.2\n\n[options.inner]\n"odd key" = [1, 2]\n'
    )


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(TypeError, match="TOML cannot hold"):
        to_toml({"path": Path("x")})
    with pytest.raises(TypeError, match="TOML cannot hold None"):
        to_toml({"list": [None]})


@settings(deadline=None)
@given(st.text(max_size=120))
def test_slug_is_one_safe_component(text: str) -> None:
    safe = slug(text)
    assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,79}", safe)
    assert slug(safe) == safe
    assert Path(safe).name == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("simclr+dsa", "simclr+dsa"),
        ("simclr[temperature=0.2]+dsa[lambda1=5]", "simclr-temperature-0.2+dsa-lambda1-5"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "_"),
        ("", "_"),
        ("Ä/ö", "_"),
        ("a\x00b\nc", "a-b-c"),
    ],
)
def test_slug_examples(text: str, safe: str) -> None:
    assert slug(text) == safe


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == sha256_bytes(b"abc" * 100_000) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(DataError, match="missing"):
        sha256_file(tmp_path / "missing")


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"[1]", b'"text"', b"\xff\xfe\x00", b"[" * 100_000])
def test_read_json_names_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path} is damaged")):
        read_json(path)


def test_read_json_reads_and_names_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_json(path)
    write_atomic(path, '{"state": "done"}')
    assert read_json(path) == {"state": "done"}


def test_what_cannot_be_written_is_known_before_and_nothing_is_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "table.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is no folder"):
        check_writable(tmp_path / "file" / "table.csv")
    with pytest.raises(StorageError, match="it is a folder"):
        check_writable(tmp_path)


def temporaries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp"))


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    (tmp_path / f".features.safetensors.{'a' * 12}.dsabench.tmp").write_bytes(b"half")
    (tmp_path / f".else.{'b' * 12}.tmp").write_bytes(b"not ours")

    def parts() -> Iterator[bytes]:
        yield b"one"
        # In the middle of this write, another one into the same folder.
        write_atomic(tmp_path / "other", "")
        assert len(temporaries(tmp_path)) == 2
        yield b"two"

    write_atomic(path, parts())
    assert path.read_bytes() == b"onetwo"
    assert temporaries(tmp_path) == [f".else.{'b' * 12}.tmp"]


def test_a_temporary_that_was_swept_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, []

    def sweep_first(file: Any, how: int) -> None:
        if not swept:
            swept.extend(temporaries(tmp_path))
            (tmp_path / swept[0]).unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    write_atomic(tmp_path / "x", "content")
    assert len(swept) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "content"


def test_without_locks_files_are_written_and_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = f".x.{'a' * 12}.dsabench.tmp"
    (tmp_path / left).write_bytes(b"half")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", fail)
    write_atomic(tmp_path / "x", "content")
    assert (tmp_path / "x").read_text() == "content"
    assert temporaries(tmp_path) == [left]


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DataError, match=re.escape(f"cannot read {path}")):
            sha256_file(path)


def test_what_cannot_be_read_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    path.write_text("{}")

    def fail(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match=re.escape(f"cannot read {path}: Permission denied")):
        read_json(path)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_an_error_unless_the_file_system_never_can(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    if code == errno.EINVAL:
        write_atomic(tmp_path / "x", "content")
    else:
        with pytest.raises(StorageError, match="Input/output error"):
            write_atomic(tmp_path / "x", "content")
    # Either way the new file is there whole.
    assert (tmp_path / "x").read_text() == "content"


def test_a_new_file_is_made_once_and_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "claim"
    seen: list[bool] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_new(path, "first")
    with pytest.raises(FileExistsError):
        write_new(path, "second")
    assert (path.read_text(), seen, os.listdir(tmp_path)) == ("first", [False, True], ["claim"])


def test_a_new_file_needs_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_new(tmp_path / "claim", "first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "claim", "second")
    assert ((tmp_path / "claim").read_text(), os.listdir(tmp_path)) == ("first", ["claim"])


def test_a_new_file_that_cannot_be_linked_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", damaged)
    with pytest.raises(OSError, match="Input/output"):
        write_new(tmp_path / "claim", "first")
    assert not os.listdir(tmp_path)
