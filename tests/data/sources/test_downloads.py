import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published import SETS, md5, served
from torchvision.datasets import cifar, flowers102, stl10, svhn

from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.data.sources import archives
from dsabench.data.sources.archives import Archive
from dsabench.data.sources.downloads import PUBLISHED
from dsabench.data.sources.photographs import PHOTOGRAPHS
from dsabench.errors import DataError, StorageError

ALL = PUBLISHED | PHOTOGRAPHS


class Site:
    """The published archives of a set, small, on a server of this machine."""

    def __init__(self, folder: Path, name: str, address: str, asked: list[str]) -> None:
        make, self.counts = SETS[name]
        self.folder, self.name, self.address, self.asked = folder, name, address, asked
        self.files = make()
        for file, content in self.files.items():
            (folder / file).write_bytes(content)

    def publish(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the record name this server, and these files' hashes and counts."""
        record = ALL[self.name]
        assert [archive.name for archive in record.archives] == list(self.files)
        published = tuple(Archive((self.address + file,), md5(content)) for file, content in self.files.items())
        train, val, test = self.counts
        counts = (train + val + test, 0) if self.name == "eurosat" else (train + val, test)
        small = replace(record, archives=published, counts=record.counts and counts)
        monkeypatch.setitem(PUBLISHED if self.name in PUBLISHED else PHOTOGRAPHS, self.name, small)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of the set that a test names; torchvision's own hashes, of the real files, are not asked."""
    for module in (cifar, stl10, svhn, flowers102):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))
    monkeypatch.setattr(archives, "WAIT_S", 0)
    (tmp_path / "site").mkdir()
    with served(tmp_path / "site") as (address, asked):
        found = Site(tmp_path / "site", request.param, address, asked)
        found.publish(monkeypatch)
        yield found


def load(site: Site, tmp_path: Path, *, offline: bool = False, size: int | None = None):  # type: ignore[no-untyped-def]
    config = DataConfig(name=site.name, folder=str(tmp_path / "data"), image_size=size)
    return load_dataset(config, offline=offline)


def test_every_published_set_has_its_archives_here() -> None:
    assert SETS.keys() == ALL.keys()


@pytest.mark.parametrize("site", SETS, indirect=True)
def test_download_verify_unpack_read(site: Site, tmp_path: Path) -> None:
    dataset = load(site, tmp_path)
    splits = (dataset.train, dataset.val, dataset.test)
    assert tuple(map(len, splits)) == site.counts
    assert sorted(site.asked) == sorted(f'"GET /{name} HTTP/1.1" 200 -'.split()[1].lstrip("/") for name in site.files)
    for split in splits:
        assert isinstance(split.images, torch.Tensor)
        # Every image says its label: in its first pixel, or everywhere.
        place = 0 if split.files is None else dataset.image_size // 2
        assert torch.equal(split.images[:, 0, place, place].long(), split.labels)
    again = load(site, tmp_path, offline=True)
    assert again.sha256 == dataset.sha256
    assert len(site.asked) == len(site.files)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("site", SETS, indirect=True)
def test_offline_says_where_it_looked(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "data" / ALL[site.name].folder
    with pytest.raises(DataError, match=rf"{folder} .*--offline forbids"):
        load(site, tmp_path, offline=True)
    assert not (tmp_path / "data").exists()
    assert not site.asked


@pytest.mark.parametrize("site", ["pets"], indirect=True)
def test_half_a_set_is_refused_and_mended(site: Site, tmp_path: Path) -> None:
    whole = load(site, tmp_path).sha256
    (tmp_path / "data" / "oxford-iiit-pet" / "images" / "Bengal_0.jpg").unlink()
    with pytest.raises(DataError, match=r"Bengal_0.jpg is missing"):
        load(site, tmp_path, offline=True)
    (tmp_path / "data" / "oxford-iiit-pet" / "images.tar.gz").write_bytes(site.files["images.tar.gz"][:100])
    site.asked.clear()
    assert load(site, tmp_path).sha256 == whole
    # What was whole is not fetched again.
    assert site.asked == ["images.tar.gz"]


@pytest.mark.parametrize("site", ["eurosat"], indirect=True)
def test_a_folder_with_fewer_images_than_the_set_is_not_taken_for_it(site: Site, tmp_path: Path) -> None:
    load(site, tmp_path)
    (tmp_path / "data" / "eurosat" / "2750" / "River" / "River_3.jpg").unlink()
    with pytest.raises(DataError, match=r"29 \+ 0 images instead of 30 \+ 0"):
        load(site, tmp_path, offline=True)
    assert len(load(site, tmp_path).test) == 6


@pytest.mark.parametrize("site", ["mnist"], indirect=True)
def test_a_wrong_file_is_refused_by_its_hash(site: Site, tmp_path: Path) -> None:
    name = "train-images-idx3-ubyte.gz"
    (site.folder / name).write_bytes(site.files[name][:-7])
    with pytest.raises(DataError, match=rf"cannot download MNIST into .*{name} has the MD5 .* was expected"):
        load(site, tmp_path)
    assert site.asked.count(name) == archives.ATTEMPTS
    assert not [path for path in (tmp_path / "data").rglob("*") if name.removesuffix(".gz") in path.name]
    (site.folder / name).write_bytes(site.files[name])
    assert len(load(site, tmp_path).train) == 90


@pytest.mark.parametrize("site", ["mnist"], indirect=True)
def test_a_missing_file_and_a_folder_that_may_not_be_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="404"):
        load(site, tmp_path)

    def denied(url: str, path: Path) -> None:
        raise PermissionError("denied")

    monkeypatch.setattr(archives, "_download", denied)
    with pytest.raises(StorageError, match="cannot write MNIST"):
        load(site, tmp_path)


@pytest.mark.parametrize("site", ["gtsrb"], indirect=True)
def test_tracks_of_traffic_signs_are_not_split(site: Site, tmp_path: Path) -> None:
    dataset = load(site, tmp_path)
    tracks = [
        {split.files.encoded.name(k).rpartition("_")[0] for k in range(len(split))}
        for split in (dataset.train, dataset.val)
        if split.files is not None
    ]
    assert len(tracks) == 2
    assert not tracks[0] & tracks[1]
    assert "whole groups" in dataset.notes[0]
