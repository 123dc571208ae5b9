"""What `make gpu` does when it is cut, fails, and is called again."""

import argparse
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import Piece, done, pieces


def options(**more: object) -> argparse.Namespace:
    known: dict[str, object] = {"data": Path("data"), "out": Path("out"), "runs": Path("runs"), "device": "cuda"}
    return argparse.Namespace(**{**known, "seeds": "0-2", "smoke": False, **more})


def python(code: str) -> Piece:
    return Piece("piece", [sys.executable, "-c", code], {"WORD": "told"})


def test_what_is_cut_leaves_whole_pairs() -> None:
    suite = [piece for piece in pieces(options()) if piece.name.startswith("cifar10")]
    assert [piece.command[piece.command.index("--seeds") + 1] for piece in suite] == ["0", "0-1", "0-2"]
    for piece in suite:
        assert "--offline" in piece.command
        assert {"simclr", "simclr+dsa", "byol", "byol+dsa", "barlow_twins", "barlow_twins+dsa"} <= set(piece.command)
    assert [piece.name for piece in pieces(options(seeds="3"))][:5] == [
        "tests",
        "pipeline",
        "dsa",
        "step",
        "cifar10-seed3",
    ]


def test_a_piece_is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    piece = python("import os; print(os.environ['WORD'])")
    assert done(piece, tmp_path, float("inf"))
    assert (tmp_path / "piece.txt").read_text() == "told\n"
    assert done(python("raise SystemExit(1)"), tmp_path, float("inf"))
    assert "done before" in capsys.readouterr().out


def test_what_fails_is_done_again_and_what_is_late_not_begun(tmp_path: Path) -> None:
    assert not done(python("raise SystemExit(1)"), tmp_path, float("inf"))
    assert not (tmp_path / "piece.txt").exists()
    assert done(python("raise SystemExit(1)"), tmp_path, time.monotonic())
    assert done(python(""), tmp_path, float("inf"))


def test_what_takes_too_long_is_told_to_save(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saves = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\nprint(1, flush=True)\n"
    assert done(python(saves + "time.sleep(60)"), tmp_path, time.monotonic() + 3)
    assert "saved; the same command goes on with it" in capsys.readouterr().out
    assert not (tmp_path / "piece.txt").exists()
