"""Images of the user's own: a table, tars, a folder in the formats of the Hub."""

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from published import picture, tarred

from dsabench.config.request import check_data
from dsabench.data import load_dataset, loading
from dsabench.data.data_config import DataConfig, located
from dsabench.data.dataset import Dataset
from dsabench.data.loader import pretraining_batches
from dsabench.data.sources.webdataset import expanded
from dsabench.errors import DataError, UsageError


def read(name: str, **more: object) -> Dataset:
    config = DataConfig(name=name, **more)  # type: ignore[arg-type]
    check_data(config)
    return load_dataset(config)


def counts(dataset: Dataset) -> list[int]:
    return [len(split) for split in (dataset.train, dataset.val, dataset.test)]


def write_images(folder: Path, count: int, classes: int = 2) -> list[tuple[str, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for k in range(count):
        (folder / f"{k:03d}.png").write_bytes(picture(k % classes, "PNG", (8, 8)))
        found.append((f"{k:03d}.png", k % classes))
    return found


def grey(dataset: Dataset) -> None:
    """Every image says its label."""
    for split in (dataset.train, dataset.val, dataset.test):
        assert isinstance(split.images, torch.Tensor)
        assert torch.equal(split.images[:, 0, 4, 4].long(), split.labels)


class TestCsv:
    def test_splits_and_words_and_where_it_lies(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "a" / "img", 24)
        lines = [
            f"img/{path},{'cat' if label else 'ant'},{('train', 'train', 'val', 'test')[k // 2 % 4]}"
            for k, (path, label) in enumerate(images)
        ]
        table = tmp_path / "a" / "all.csv"
        table.write_text("\ufeffpath,label,split\n" + "\n".join(lines) + "\n", encoding="utf-8")
        dataset = read(f"csv:{table}")
        assert (counts(dataset), dataset.classes, dataset.image_size) == ([12, 6, 6], ("ant", "cat"), 8)
        grey(dataset)
        (tmp_path / "elsewhere.csv").write_text("path,label,split\n" + "\n".join(lines[::-1]) + "\n", encoding="utf-8")
        moved = DataConfig(name=f"csv:{tmp_path / 'elsewhere.csv'}", folder=str(tmp_path / "a"))
        assert load_dataset(moved).sha256 == dataset.sha256
        assert moved.identity() == DataConfig(name=f"csv:{table}").identity() == {"name": "csv"}
        assert moved.label == "csv:elsewhere.csv"

    def test_without_splits_and_numbers_in_their_order(self, tmp_path: Path) -> None:
        images = write_images(tmp_path, 30, classes=3)
        text = "path,label\n" + "\n".join(f"{path},{(2, 10, 9)[label]}" for path, label in images)
        (tmp_path / "t.csv").write_text(text)
        dataset = read(f"csv:{tmp_path / 't.csv'}")
        assert dataset.classes == ("2", "9", "10")
        assert counts(dataset) == [21, 3, 6]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,label\na,b\n", "has the columns file, label"),
            ("path,label\n000.png,\n", "line 2: path or label is empty"),
            ("path,label,split\n000.png,a,tets\n", "the split 'tets'"),
            ("path,label\n000.png,a\n000.png,b\n", "more than once"),
            ("path,label\nx.png,a\ny.png,b\n000.png,a\n", r"2 of the 3 images .*\n  x.png\n  y.png"),
            ("path,label\n", "names no image"),
            ("path,label\n000.png,a\n001.png,a\n", "has 1 classes"),
        ],
    )
    def test_wrong_tables(self, tmp_path: Path, text: str, message: str) -> None:
        write_images(tmp_path, 2)
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read(f"csv:{tmp_path / 't.csv'}")

    def test_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert located("csv:t.csv") == f"csv:{tmp_path}/t.csv"
        assert (located("digits"), located("hf:a/b")) == ("digits", "hf:a/b")
        with pytest.raises(UsageError, match="name the table"):
            read("csv")
        with pytest.raises(UsageError, match="unknown dataset 'digits:1'"):
            read("digits:1")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two tars to train on and one to test, of two classes."""
    for name, first in (("train-0.tar", 0), ("train-1.tar", 20), ("test-0.tar", 40)):
        files = {"notes.txt": b"not an image"}
        for k in range(first, first + 20):
            files |= {f"s/{k:03d}.png": picture(k % 2, "PNG", (8, 8)), f"s/{k:03d}.cls": str(k % 2).encode()}
        (tmp_path / name).write_bytes(tarred(files, "w"))
    return tmp_path


class TestWebDataset:
    def test_tars_are_read_in_place(self, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = sorted(shards.iterdir())
        pattern = f"wds:{shards}/{{train-{{0..1}},test-0}}.tar"
        with pytest.raises(DataError):
            read(pattern)
        dataset = read(f"wds:{shards}/t*.tar")
        assert counts(dataset) == [36, 4, 20]
        grey(dataset)
        assert "3 files ignored (notes.txt, notes.txt, notes.txt)" in dataset.notes[0]
        assert read(f"wds:{shards}/{{test,train}}-*.tar").sha256 == dataset.sha256
        assert sorted(shards.iterdir()) == before
        monkeypatch.setattr(loading, "RESIDENT_BYTES", 0)
        lazy = read(f"wds:{shards}/t*.tar")
        assert not isinstance(lazy.train.images, torch.Tensor)
        index = torch.tensor([30, 2, 17])
        assert isinstance(dataset.train.images, torch.Tensor)
        assert torch.equal(lazy.train.images.read(index), dataset.train.images[index])

    def test_an_epoch_resumed_in_its_middle_has_the_same_batches(
        self, shards: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "RESIDENT_BYTES", 0)
        dataset = read(f"wds:{shards}/t*.tar")

        def batches(start: int) -> list[torch.Tensor]:
            epoch = pretraining_batches(
                dataset, "digits", batch_size=9, seed=3, epoch=1, start_step=start, device="cpu"
            )
            return [views.view1 for views in epoch]

        assert all(map(torch.equal, batches(0)[2:], batches(2)))

    def test_patterns(self, shards: Path) -> None:
        assert [p.name for p in expanded(f"{shards}/train-{{0..1}}.tar")] == ["train-0.tar", "train-1.tar"]
        with pytest.raises(DataError, match=r"no file .*train-2.tar"):
            expanded(f"{shards}/train-{{0..2}}.tar")
        with pytest.raises(DataError, match="no tar fits"):
            read(f"wds:{shards}/none-*.tar")
        with pytest.raises(UsageError, match="cannot read the range"):
            expanded("a{x..y}.tar")

    def hostile(self, kind: str) -> bytes:
        png = picture(0, "PNG", (8, 8))
        if kind == "compressed":
            return tarred({"a.png": png, "a.cls": b"0"})
        if kind == "outside":
            return tarred({"../a.png": png, "../a.cls": b"0"}, "w")
        if kind == "no label":
            return tarred({"a.png": png}, "w")
        if kind == "long label":
            return tarred({"a.png": png, "a.cls": b"0" * 5000}, "w")
        if kind == "two images":
            return tarred({"a.png": png, "a.jpg": png, "a.cls": b"0"}, "w")
        if kind == "cut":
            return tarred({"a.cls": b"0", "a.png": png * 100}, "w")[:2500]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            link = tarfile.TarInfo("a.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        return out.getvalue()

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("compressed", "not compressed"),
            ("outside", "no plain file"),
            ("link", "no plain file"),
            ("no label", r"has no label a.cls"),
            ("long label", "5,000 bytes"),
            ("two images", "two images of the sample a"),
            ("cut", "x.tar"),
        ],
    )
    def test_hostile_and_damaged_tars(self, tmp_path: Path, kind: str, message: str) -> None:
        (tmp_path / "x.tar").write_bytes(self.hostile(kind))
        with pytest.raises(DataError, match=message):
            read(f"wds:{tmp_path}/x.tar")


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the Hub's imagefolder format, with a cache of its own."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, count in (("train", 20), ("test", 6)):
        folder = tmp_path / "set" / split
        images = write_images(folder, count)
        lines = [json.dumps({"file_name": path, "kind": ("ant", "cat")[label]}) for path, label in images]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "set"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
class TestHub:
    def test_a_folder_with_its_columns_named(self, hub_folder: Path) -> None:
        with pytest.raises(UsageError, match=r"0 columns that may be the label; name one"):
            read(f"hf:{hub_folder}")
        with pytest.raises(UsageError, match="has no column 'nothing'"):
            read(f"hf:{hub_folder}[label=nothing]")
        dataset = read(f"hf:{hub_folder}[label=kind]")
        assert (counts(dataset), dataset.classes, dataset.image_size) == ([18, 2, 6], ("ant", "cat"), 8)
        grey(dataset)

    def test_names_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="the options are image, label, config, revision"):
            read("hf:a/b[colour=red]")
        with pytest.raises(DataError, match="--offline forbids a download"):
            load_dataset(DataConfig(name="hf:nobody/nothing-at-all"), offline=True)


class TestFolder:
    def test_what_was_read_is_said(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path / "a", {"train": 20, "val": 4})
        (tmp_path / "a" / "train" / "ant" / "notes.txt").write_text("")
        (line,) = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "a"))).notes
        assert line == (
            "3 classes, 54 train, 6 val (10% of train), 12 test (val/ used as test), "
            "1 file ignored (train/ant/notes.txt); 12 px"
        )
        write_folder(tmp_path / "b", {"": 25})
        (line,) = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "b"))).notes
        assert line == "3 classes, 54 train, 6 val (10% of train), 15 test (a fifth held out); 12 px"

    def test_one_odd_size_is_said_and_unbalanced_classes_are(
        self, tmp_path: Path, write_folder: Callable[..., None]
    ) -> None:
        write_folder(tmp_path, {"": 5})
        write_folder(tmp_path / "more", {"": 12}, classes=("x",))
        (tmp_path / "more" / "x").rename(tmp_path / "dog")
        (tmp_path / "more").rmdir()
        Image.new("RGB", (13, 12)).save(tmp_path / "ant" / "odd.png")
        dataset = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        assert dataset.image_size == 224
        assert dataset.notes[1] == (
            "sizes differ: 2 sizes, 12x12 (27), 13x12 (1): ant/odd.png (13x12); "
            "smallest 12x12 (ant/000.jpg), largest 13x12 (ant/odd.png); "
            "using 224 px, to which 28 of 28 are enlarged; --image-size 12 would keep that of 27"
        )
        assert dataset.notes[2].startswith("classes are unbalanced: 3 to 8 training images each")
        small = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path), image_size=12))
        assert len(small.notes) == 2

    def test_of_sizes_that_differ_the_ends_are_named_and_a_size_that_fits(
        self, tmp_path: Path, write_folder: Callable[..., None]
    ) -> None:
        write_folder(tmp_path, {"": 1}, classes=("ant", "bee"), size=(300, 300))
        for name, side in (("a", 40), ("b", 60), ("c", 20)):
            for label in ("ant", "bee"):
                Image.new("RGB", (side, side + 5)).save(tmp_path / label / f"{name}.png")
        dataset = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        note = dataset.notes[1]
        assert "; smallest 20x25 (ant/c.png), largest 300x300 (bee/000.jpg); using 224 px, " in note
        assert note.endswith("to which 6 of 8 are enlarged; --image-size 40 would fit the median")

    @pytest.mark.parametrize("resident", [True, False])
    def test_all_unreadable_images_are_listed_at_once(
        self, tmp_path: Path, write_folder: Callable[..., None], resident: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_folder(tmp_path, {"train": 6, "test": 2})
        broken = [tmp_path / "train" / "ant" / "bad.png", tmp_path / "test" / "bee" / "bad.jpg"]
        for path in broken:
            path.write_bytes(b"no image")
        if not resident:
            monkeypatch.setattr(loading, "RESIDENT_BYTES", 0)
        with pytest.raises(DataError, match="2 images cannot be read") as caught:
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        assert all(str(path) in str(caught.value) for path in broken)

    def test_all_that_is_wrong_is_told_at_once(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path, {"": 14})
        (tmp_path / "dog").mkdir()
        (tmp_path / "emu").mkdir()
        (tmp_path / "emu" / "one.png").write_bytes((tmp_path / "ant" / "001.png").read_bytes())
        for k in range(12):
            (tmp_path / "bee" / f"bad{k:02d}.png").write_bytes(b"no image")
        Image.new("RGB", (13, 12)).save(tmp_path / "ant" / "odd.png")
        with pytest.raises(DataError) as caught:
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        lines = str(caught.value).splitlines()
        assert lines[0].startswith(f"no images in {tmp_path / 'dog'}")
        assert lines[1].startswith(f"{tmp_path / 'emu'} has 1 images, but a class needs 3")
        assert lines[2] == "12 images cannot be read; repair or remove them:"
        assert sum("bad" in line for line in lines) == 10
        assert lines[13] == "  and 2 more"
        assert lines[14].startswith("sizes differ: 2 sizes, 12x12 (43), 13x12 (1)")

    def test_what_is_ignored_is_counted_everywhere_and_named(
        self, tmp_path: Path, write_folder: Callable[..., None]
    ) -> None:
        write_folder(tmp_path, {"train": 6, "test": 2})
        for name in ("LICENSE", "train/stray.png", "train/ant/.hidden.png", "test/bee/a.txt", "test/bee/b.txt"):
            (tmp_path / name).write_bytes(b"")
        (line,) = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).notes
        assert "5 files ignored (LICENSE, test/bee/a.txt, test/bee/b.txt and 2 more); 12 px" in line

    @pytest.mark.parametrize("names", [("Train", "Test"), ("training", "validation"), ("TRAIN", "Valid")])
    def test_splits_are_known_by_their_usual_names_and_it_is_said(
        self, tmp_path: Path, write_folder: Callable[..., None], names: tuple[str, str]
    ) -> None:
        write_folder(tmp_path / "plain", {"train": 20, "val" if names[1][0] in "vV" else "test": 4})
        write_folder(tmp_path / "other", {names[0]: 20, names[1]: 4, "masks": 1})
        plain, other = (
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / n))) for n in ("plain", "other")
        )
        assert plain.sha256 == other.sha256
        used = f"({names[1]}/ used as test)" if names[1][0] in "vV" else f"({names[1]}/)"
        assert f"12 test {used}; 12 px" in other.notes[0]
        role = "val" if names[1][0] in "vV" else "test"
        assert other.notes[1:] == (
            f"{names[0]}/ is read as train/, {names[1]}/ is read as {role}/",
            "warning: the folder masks/ is not used",
        )

    @pytest.mark.parametrize(
        ("plain", "other"), [("train", "Training"), ("test", "Testing"), ("val", "validation"), ("train", "Train")]
    )
    def test_two_folders_for_one_split_are_refused_whatever_they_are_called(
        self, tmp_path: Path, write_folder: Callable[..., None], plain: str, other: str
    ) -> None:
        write_folder(tmp_path, {"train": 20, "test": 4, plain: 4, other: 4})
        with pytest.raises(DataError, match=rf"{plain}/ and {other}/ in .* could both be {plain}; put the images of"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))

    def test_a_folder_around_the_classes_is_named(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path / "wrap", {"photos": 8})
        with pytest.raises(DataError, match=r"did you mean --data-dir .*/wrap/photos\?"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "wrap")))

    def test_classes_that_differ_in_capital_letters_alone_are_told_with_what_renames_them(
        self, tmp_path: Path, write_folder: Callable[..., None]
    ) -> None:
        write_folder(tmp_path / "a", {"train": 8, "test": 4})
        first, *_ = sorted(path.name for path in (tmp_path / "a" / "test").iterdir())
        (tmp_path / "a" / "test" / first).rename(tmp_path / "a" / "test" / first.upper())
        wrong, right = (re.escape(str(tmp_path / "a" / "test" / name)) for name in (first.upper(), first))
        with pytest.raises(DataError, match=rf"the classes differ: .*; in capital letters alone: mv {wrong} {right}"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "a")))
        folder = tmp_path / "b"
        write_folder(folder, {"": 8})
        shutil.copytree(folder / first, folder / first.upper())
        notes = load_dataset(DataConfig(name="imagefolder", folder=str(folder))).notes
        (told,) = [note for note in notes if "capital" in note]
        assert told.startswith(f"warning: the classes {first.upper()} and {first} differ in capital letters alone")

    def test_splits_that_are_not_clear_are_refused(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path / "a", {"Train": 3, "Validation": 3, "dev": 3})
        with pytest.raises(DataError, match=r"Validation/ and dev/ in .* could both be val; rename one of them to val"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "a")))
        write_folder(tmp_path / "b", {"Test": 3, "validation": 3})
        with pytest.raises(DataError, match=r"b/Test, .*b/validation has no folder train beside it"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "b")))

    def test_classes_with_the_same_folders_in_them_are_doubted(
        self, tmp_path: Path, write_folder: Callable[..., None]
    ) -> None:
        write_folder(tmp_path, {"monday": 5, "tuesday": 5})
        notes = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).notes
        assert notes[0].startswith("2 classes")
        assert notes[1].startswith("warning: every class has the same folders in it (ant, bee, cat); are those the cla")

    def test_a_class_called_like_a_split_is_a_class(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path, {"": 5}, classes=("valid", "invalid"))
        dataset = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        assert (dataset.classes, len(dataset.notes)) == (("invalid", "valid"), 1)

    def test_images_without_classes_are_told_why_not(self, tmp_path: Path) -> None:
        for k in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{k}.png")
        with pytest.raises(DataError, match=r"has 3 images, but no folders of classes: .*neither pretrains nor evalua"):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))

    def test_an_empty_class_is_told_once(self, tmp_path: Path, write_folder: Callable[..., None]) -> None:
        write_folder(tmp_path, {"train": 4, "val": 2})
        (tmp_path / "train" / "dog").mkdir()
        with pytest.raises(DataError) as caught:
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"no images in {tmp_path / 'train' / 'dog'}")


class TestGroups:
    def write(self, folder: Path) -> None:
        for label, name in enumerate(("ant", "bee")):
            (folder / name).mkdir(parents=True)
            for k in range(40):
                (folder / name / f"p{k // 4:02d}_{k}.png").write_bytes(picture(label, "PNG", (8, 8)))

    def test_groups_are_never_split(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        dataset = load_dataset(
            DataConfig(name="imagefolder", folder=str(tmp_path), group_by=r"(p\d\d)_", val_share=0.2)
        )
        groups = []
        for split in (dataset.train, dataset.val, dataset.test):
            assert split.files is not None
            groups.append({split.files.encoded.name(k).split("/")[1][:3] for k in range(len(split))})
        assert sum(map(len, groups)) == len(set.union(*groups)) == 10
        assert counts(dataset) == [48, 16, 16]

    @pytest.mark.parametrize(
        ("pattern", "error", "message"),
        [
            ("(", UsageError, "regular expression"),
            ("p", UsageError, "has 0"),
            ("(q)", DataError, "finds no group in the name"),
            (r"(png)", DataError, "too few groups"),
        ],
    )
    def test_patterns_that_cannot_be(self, tmp_path: Path, pattern: str, error: type[Exception], message: str) -> None:
        self.write(tmp_path)
        with pytest.raises(error, match=message):
            load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path), group_by=pattern))

    def test_what_has_no_names_has_no_groups(self) -> None:
        with pytest.raises(UsageError, match="have none"):
            load_dataset(DataConfig(name="synthetic", group_by="(x)"))

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 0.999])
    def test_a_share_that_cannot_be(self, share: float) -> None:
        with pytest.raises(UsageError):
            load_dataset(DataConfig(name="synthetic", val_share=share))

    def test_identity_has_them_only_where_they_are_set(self) -> None:
        assert DataConfig().identity() == {"name": "digits"}
        assert DataConfig(val_share=0.3).identity() == {"name": "digits", "val_share": 0.3}
        assert len(load_dataset(DataConfig(name="synthetic", val_share=0.25)).val) == 80
