"""The folders of few classes and of uneven ones: how many images each class gets, and that none is in both splits."""

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import uneven
from dsabench.errors import DataError


def test_classes_fall_in_equal_ratios_from_the_first_to_the_last() -> None:
    for ratio in (10, 50):
        counts = uneven.falling(10, ratio)
        assert sum(counts) == pytest.approx(uneven.TRAIN, abs=5)
        assert counts[0] / counts[-1] == pytest.approx(ratio, rel=0.03)
        steps = [after / before for before, after in pairwise(counts)]
        assert steps == pytest.approx([ratio ** (-1 / 9)] * 9, rel=0.06)
    assert uneven.even(5) == [400] * 5


def test_no_image_is_in_both_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uneven, "TEST", 2)
    for name in "abc":
        (tmp_path / "train" / name).mkdir(parents=True)
        for place in range(6):
            (tmp_path / "train" / name / f"{place}.png").write_bytes(bytes([place]))
    uneven.make(tmp_path, tmp_path / "out", [4, 2])
    there = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert there == {f"test/{c}/{i}.png" for c in "ab" for i in (0, 1)} | {
        *(f"train/a/{i}.png" for i in (2, 3, 4, 5)),
        *(f"train/b/{i}.png" for i in (2, 3)),
    }
    with pytest.raises(DataError, match="6 images; 7 are wanted"):
        uneven.make(tmp_path, tmp_path / "other", [5])
    with pytest.raises(DataError, match="has 3 classes; 4 are wanted"):
        uneven.make(tmp_path, tmp_path / "other", [1] * 4)
    assert not (tmp_path / "other").exists()
    with pytest.raises(DataError, match="out is there already; name a new folder"):
        uneven.make(tmp_path, tmp_path / "out", [1])
