import errno
import gzip
import io
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from published import tarred

from dsabench.data.sources.archives import safe_name, unpack
from dsabench.errors import DataError


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b.png", "C:\\a.png", "a\\..\\b.png", "", "."])
def test_names_that_lead_elsewhere(name: str) -> None:
    assert not safe_name(name)


@pytest.mark.parametrize("name", ["a.png", "a/b c/d.png", "./a.png", "a..png"])
def test_names_that_stay(name: str) -> None:
    assert safe_name(name)


def test_a_tar_with_a_path_or_a_link_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred({"../outside.png": b"1"}, "w"))
    with pytest.raises(DataError, match="outside the folder"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(DataError, match="no plain file"):
        unpack(tmp_path / "b.tar", tmp_path / "out")
    assert not (tmp_path / "outside.png").exists()
    assert not (tmp_path / "out").exists()


def test_a_zip_with_a_link_and_one_that_explodes_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    with pytest.raises(DataError, match="no plain file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(20 * 2**20))
    with pytest.raises(DataError, match="too many to be images"):
        unpack(tmp_path / "b.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.gz", "a.tar"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8bno archive at all")
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        unpack(tmp_path / name, tmp_path / "out")


def test_a_tar_that_ends_early_leaves_whole_files_alone(tmp_path: Path) -> None:
    content = tarred({"a.png": b"a" * 2000, "b.png": b"b" * 2000}, "w")
    (tmp_path / "a.tar").write_bytes(content[:4000])
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert io.BytesIO((tmp_path / "out" / "a.png").read_bytes()).read() == b"a" * 2000


def test_a_gzip_that_explodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(64 * 2**20)))
    with pytest.raises(DataError, match="too many to be images"):
        unpack(tmp_path / "a.gz", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def damaged(content: bytes) -> bytes:
    """The same with its middle changed, where an index or a header still is right."""
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]


@pytest.mark.parametrize("name", ["a.zip", "a.gz", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_content_that_cannot_be_decompressed_is_one_error(tmp_path: Path, name: str) -> None:
    """The archive's own hash may be right: a publisher's file can be broken too."""
    noise = random.Random(0).randbytes(100_000)
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", noise)
    elif name == "a.gz":
        (tmp_path / name).write_bytes(gzip.compress(noise))
    else:
        (tmp_path / name).write_bytes(tarred({"a.png": noise}, f"w:{name.rpartition('.')[2]}"))
    (tmp_path / name).write_bytes(damaged((tmp_path / name).read_bytes()))
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        unpack(tmp_path / name, tmp_path / "out")
    assert not list(tmp_path.rglob("*.part"))


def test_an_encrypted_zip_is_one_error_and_a_disk_that_fails_is_none_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"1")
    plain = (tmp_path / "a.zip").read_bytes()
    # The first bit of the flags, in the header of the member and in the index.
    secret = bytearray(plain)
    secret[6] |= 1
    secret[plain.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(secret)
    with pytest.raises(DataError, match="encrypted"):
        unpack(tmp_path / "b.zip", tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left") as caught:
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_in_an_archive_is_no_file(tmp_path: Path) -> None:
    inner = tarfile.TarInfo("inner")
    inner.type = tarfile.DIRTYPE
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(inner)
        archive.addfile(tarfile.TarInfo("inner/empty.png"))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["empty.png"]
