"""Embeddings that exist already: the forms they come in, how they are split, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import dsabench
from safetensors.numpy import save_file

from dsabench.data import load_dataset
from dsabench.errors import DataError
from dsabench.evaluation import embeddings as module
from dsabench.evaluation.embeddings import load_embeddings
from dsabench.metrics import measure

Y = np.arange(400) % 4
X = (np.eye(4, 12)[Y] + 0.4 * np.random.default_rng(0).standard_normal((400, 12))).astype(np.float32)
WORDS = np.array(["ant", "bee", "cat", "dog"])[Y]
SPLIT = {"x_train": X[:300], "y_train": Y[:300], "x_test": X[300:], "y_test": Y[300:]}


def folder_of(path: Path, arrays: dict[str, Any]) -> Path:
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def parquet_of(path: Path, columns: dict[str, Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_every_form_holds_the_same_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "stored.npz", **SPLIT)
    np.savez_compressed(tmp_path / "packed.npz", **{**SPLIT, "y_train": WORDS[:300], "y_test": WORDS[300:]})
    np.savez(tmp_path / "double.npz", **{k: v.astype(np.float64) if "x" in k else v for k, v in SPLIT.items()})
    np.savez(tmp_path / "fortran.npz", **{k: np.asfortranarray(v) for k, v in SPLIT.items()})
    save_file(SPLIT, tmp_path / "f.safetensors")
    folder_of(tmp_path / "folder", SPLIT)
    parquet_of(
        tmp_path / "f.parquet",
        {"embedding": list(X), "label": Y, "split": ["train"] * 300 + ["test"] * 100, "other": ["?"] * 400},
    )
    names = ("stored.npz", "packed.npz", "double.npz", "fortran.npz", "f.safetensors", "folder", "f.parquet")
    found = [load_embeddings(tmp_path / name) for name in names]
    for one in found:
        assert np.array_equal(one.splits["test"].x.numpy(), X[300:])
        assert np.array_equal(one.splits["test"].y.numpy(), Y[300:])
        assert {split: len(features.y) for split, features in one.splits.items()} == {
            "train": 270, "val": 30, "test": 100,
        }  # fmt: skip
        assert torch.equal(one.splits["val"].x, found[0].splits["val"].x)
    assert found[1].classes == ("ant", "bee", "cat", "dog")
    # Equal labels in an equal order are the same data, whatever the embeddings are.
    assert len({one.data_sha256 for one in found}) == 2


def test_one_table_is_split_by_class_and_always_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.savez(tmp_path / "b.npz", embeddings=-X, labels=Y)
    a, b = (load_embeddings(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert a.data_sha256 == b.data_sha256
    seen = torch.cat([a.splits[split].x for split in ("train", "val", "test")])
    assert len({tuple(row.tolist()) for row in seen}) == 400
    for split, count in (("test", 20), ("val", 8), ("train", 72)):
        assert torch.bincount(a.splits[split].y).tolist() == [count] * 4
        assert torch.equal(a.splits[split].x, -b.splits[split].x)


def test_labels_lie_in_a_table_beside_file_names(tmp_path: Path) -> None:
    names = np.array([f"{number}.png" for number in range(400)])
    np.savez(tmp_path / "a.npz", embeddings=X, filenames=names)
    lines = ["filename,label", *(f"{name},{word}" for name, word in zip(names[::-1], WORDS[::-1], strict=True))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "b.npz", x=X, y=WORDS)
    found = load_embeddings(tmp_path / "a.npz", tmp_path / "labels.csv")
    assert torch.equal(found.splits["test"].x, load_embeddings(tmp_path / "b.npz").splits["test"].x)
    (tmp_path / "labels.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"no label for '0.png' \(1 of 400 are missing\)"):
        load_embeddings(tmp_path / "a.npz", tmp_path / "labels.csv")


def test_many_rows_are_mapped_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    held = load_embeddings(tmp_path / "a.npz")
    monkeypatch.setattr("dsabench.files.RESIDENT_BYTES", 0)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 500)
    mapped = load_embeddings(tmp_path / "a.npz")
    for split in ("train", "val", "test"):
        assert torch.equal(held.splits[split].x, mapped.splits[split].x)


def test_eval_measures_embeddings_and_needs_no_data_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", **{**SPLIT, "y_train": WORDS[:300], "y_test": WORDS[300:]})
    done = dsabench("eval", "--features", f"mine={tmp_path / 'words.npz'}", "--json", "--runs", tmp_path / "runs")
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    values = {row["metric"]: row["value"] for row in rows}
    assert {(row["method"], row["dataset"], row["backbone"]) for row in rows} == {("mine", "embeddings", "embeddings")}
    assert values["cdnv"] == measure(X[300:], Y[300:], ["cdnv"])["cdnv"]
    assert {row["probe"] for row in rows} == {"knn", "knn5", "linear", "fewshot", "crowding"}
    assert "train 270, val 30, test 100 rows of 12 in 4 classes" in done.err
    layer = dsabench(
        *("eval", "--features", tmp_path / "words.npz", "--layer", "smooth", "--layer", "backbone"),
        *("--probe", "cdnv", "--json", "--runs", tmp_path / "runs"),
    )
    smooth, plain = (row["value"] for row in json.loads(layer.out))
    assert smooth < plain


def test_features_of_a_data_set_carry_its_name_and_hash(tmp_path: Path) -> None:
    data = load_dataset("digits")
    pixels = {split: getattr(data, split).images.flatten(1).float().numpy() for split in ("train", "val", "test")}
    labels = {split: getattr(data, split).labels.numpy() for split in pixels}
    arrays = {f"x_{split}": x for split, x in pixels.items()} | {f"y_{split}": y for split, y in labels.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    found = load_embeddings(tmp_path / "a.npz", dataset=data)
    assert (found.title, found.data_sha256) == ("digits", data.sha256)
    np.savez(tmp_path / "b.npz", **{**arrays, "y_test": labels["test"][::-1]})
    with pytest.raises(DataError, match="labels in another order for the test split, where digits has 359 images"):
        load_embeddings(tmp_path / "b.npz", dataset=data)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("code of a file has run",)


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "f.npz", **arrays)
        return folder / "f.npz"

    return write


def raw(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def half(folder: Path) -> Path:
    path = npz(x=X, y=Y)(folder)
    path.write_bytes(path.read_bytes()[:9000])
    return path


def flipped(folder: Path) -> Path:
    path = npz(x=X, y=Y)(folder)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    return path


def bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "f.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(2**22))
    return folder / "f.npz"


def claiming(folder: Path) -> Path:
    path = folder / "f.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**20)}
        np.lib.format.write_array_header_1_0(file, header)
    return path


NAN = np.where(np.arange(400)[:, None] == 7, np.nan, X)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nan": (npz(x=NAN, y=Y), "NaN or infinite numbers, first in row 7"),
    "too large for float32": (npz(x=X.astype(float) * 1e200, y=Y), "NaN or infinite"),
    "objects": (npz(x=np.array([Evil()] * 3), y=Y), "Python objects"),
    "labels are objects": (
        npz(x=X, y=np.array([Evil()] * 400)),
        "Python objects, which are not loaded; of words save y.astype(str)",
    ),
    "lengths": (npz(x=X, y=Y[:-1]), "400 rows and labels of shape (399,)"),
    "widths": (npz(**{**SPLIT, "x_test": X[300:, 1:]}), "embeddings of 11 and of 12 dimensions"),
    "images": (npz(x=X.reshape(400, 3, 4), y=Y), "the shape (400, 3, 4); embeddings are (N, D)"),
    "integers": (npz(x=(100 * X).astype(int), y=Y), "of type int64"),
    "shares for labels": (npz(x=X, y=Y + 0.5), "labels of type float64"),
    "no labels": (npz(x=X), "has no labels beside it"),
    "no features": (npz(z=X, y=Y), "holds no embeddings but y, z"),
    "no test": (npz(x_train=X, y_train=Y), "holds x for train"),
    "one of a class": (npz(x=X[:4], y=Y[:4]), "1 rows of the class '0', but 3 are needed"),
    "words and numbers": (npz(**{**SPLIT, "y_test": WORDS[300:]}), "words in one split and numbers"),
    "half a file": (half, "cannot read the embeddings"),
    "a flipped bit": (flipped, "Bad CRC-32"),
    "a bomb": (bomb, "cannot read the embeddings"),
    "more than it holds": (claiming, "does not hold the"),
    "a pickle": (raw("f.npz", b"\x80\x04cos\nsystem\n."), "cannot read the embeddings"),
    "half safetensors": (raw("f.safetensors", (99).to_bytes(8, "little") + b"{"), "cannot read the embeddings"),
    "another kind": (raw("f.pkl", b"\x80\x04."), "is no file of embeddings"),
    "no parquet": (raw("f.parquet", b"PAR1 and no more"), "cannot read the embeddings"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_features_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, said = REFUSED[name]
    with pytest.raises(DataError) as caught:
        load_embeddings(write(tmp_path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "code of a file" not in capsys.readouterr().out


def test_ragged_rows_and_empty_cells_are_refused(tmp_path: Path) -> None:
    rows = [list(row) for row in X[:8].astype(float)]
    path = parquet_of(tmp_path / "f.parquet", {"embedding": [*rows[:7], rows[7][:3]], "label": Y[:8]})
    with pytest.raises(DataError, match="ragged: rows of 3 to 12 numbers"):
        load_embeddings(path)
    path = parquet_of(tmp_path / "f.parquet", {"embedding": [*rows[:7], None], "label": Y[:8]})
    with pytest.raises(DataError, match="column embedding has 1 empty cells"):
        load_embeddings(path)


def test_a_refused_file_is_exit_3_and_nothing_runs(tmp_path: Path) -> None:
    good = npz(x=X, y=Y)(tmp_path)
    bad = tmp_path / "bad.npz"
    np.savez(bad, x=NAN, y=Y)
    runs = tmp_path / "runs"
    done = dsabench("eval", "--features", f"a={good}", "--features", f"b={bad}", "--probe", "knn", "--runs", runs)
    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines()[-1].startswith("dsabench: ")
    assert not runs.exists()
    twice = dsabench("eval", "--features", good, "--features", good, "--runs", runs)
    assert (twice.code, twice.err.count("\n")) == (2, 1)
    assert "two sources are called 'f'; give each a name, as in NAME=SOURCE" in twice.err
    assert dsabench("eval", "--features", tmp_path / "none.npz").code == 3
