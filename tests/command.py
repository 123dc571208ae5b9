"""The command line as tests call it: inside this process, or in one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from dsabench import cli
from dsabench.signals import EXIT_CODES

# The smallest run that trains: 256 images of 8 x 8 pixels, in four batches.
TINY = (
    *("--dataset", "synthetic", "--backbone", "resnet8w16", "--image-size", "8", "--epochs", "1"),
    *("--batch-size", "64", "--device", "cpu"),
)

WIDTH = "200"


class Result(NamedTuple):
    """What a command left: its exit code, and the text on both streams."""

    code: int
    out: str
    err: str


def dsabench(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
    """Run the command line in this process, which is left as it was."""
    out, err = StringIO(), StringIO()
    handlers = {number: signal.getsignal(number) for number in EXIT_CODES}
    words = ["dsabench", *map(str, arguments)]
    try:
        with (
            patch.object(sys, "argv", words),
            patch.dict(os.environ, {**(env or {}), "NO_COLOR": "1", "COLUMNS": WIDTH}),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code
            else:
                code = 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert code is None or isinstance(code, int)
    return Result(code or 0, out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path, before: str = "") -> subprocess.Popen[str]:
    """Start the command line in a process of its own, after the statement `before`."""
    # Whoever runs the tests under nohup ignores hang-ups, and what they start would too, as it should.
    heard = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    code = f"import signal, sys\n{heard}\nfrom dsabench.cli import main\n{before}\nmain()"
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "error::UserWarning"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process: subprocess.Popen[str]) -> Result:
    """Wait for a process that `start` returned."""
    out, err = process.communicate(timeout=240)
    return Result(process.returncode, out, err)
