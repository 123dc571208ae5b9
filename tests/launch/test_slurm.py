"""Runs as tasks of Slurm: what it is told and asked, and that killed, preempted and abandoned ones end as without."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_slurm
import pytest
from command import TINY, dsabench

from dsabench.config.eval_config import EvalConfig
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.errors import Interrupted, RunFailed, UsageError
from dsabench.launch import slurm, submission
from dsabench.launch.array_task import Task, error_path, rows_path, work
from dsabench.launch.jobs import run_all
from dsabench.launch.slurm import parse_options, wants_gpu
from dsabench.launch.submission import Cluster, run_on, submissions
from dsabench.launch.work import Job, Workshop
from dsabench.signals import Stop
from dsabench.tables.rows import comparable, write_csv
from dsabench.training.lock import holder
from dsabench.training.store import Store

SPECS = ("simclr", "byol")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Slurm that is not one."""
    folder = tmp_path / "queue"
    folder.mkdir()
    fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root}:{os.environ.get('PYTHONPATH', '')}")
    return folder


def jobs(epochs: int = 1) -> list[Job]:
    request = Request(
        tuple(map(parse_spec, SPECS)),
        (0,),
        DataConfig(name="synthetic", image_size=8),
        "resnet8w16",
        epochs=epochs,
        batch_size=64,
        device="cpu",
    )
    return [Job(one, EvalConfig(("knn", "cdnv"))) for one in plan(request, Datasets().load(request.data))]


def shop(runs: Path) -> Workshop:
    return Workshop(Store(runs), Datasets(), Stop(), lambda update: None)


def cluster(runs: Path, tell: Callable[[str], None] = lambda line: None) -> Cluster:
    return Cluster(runs, parse_options(["time=00:10:00"]), 1, False, ask_s=0.1, tell=tell)


def test_options_are_those_of_sbatch() -> None:
    known = parse_options(["partition=gpu,gpus=1,time=08:00:00", "nodelist=a1,a2,mem=32G,exclusive"])
    assert known == {
        "partition": "gpu",
        "gpus": "1",
        "time": "08:00:00",
        "nodelist": "a1,a2",
        "mem": "32G",
        "exclusive": True,
        "signal": "USR1@120",
    }
    assert wants_gpu(known)
    assert wants_gpu(parse_options(["gres=gpu:a100:2"]))
    assert not wants_gpu(parse_options(["gpus=0,mem=1G"]))


@pytest.mark.parametrize(
    "text", ["", "=1", "mem=", "Mem=1", "array=0-3", "signal=TERM@60", "signal=B:USR1@60", "signal"]
)
def test_what_cannot_be_told_to_sbatch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--slurm"):
        parse_options([text])


def test_the_script_of_a_dry_run_is_the_one_that_is_submitted(queue: Path, tmp_path: Path) -> None:
    given = ("compare", *SPECS, *TINY, "--launcher", "slurm", "--runs", tmp_path / "runs", "--dry-run")
    words = (
        *given,
        "--seeds",
        "0-1",
        "--threads",
        2,
        "--jobs",
        3,
        "--slurm",
        "partition=gpu,gpus=1,mem=8G,signal=USR2@60",
    )
    told = dsabench(*words)
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    for line in ("--array=0-3%3", "--partition=gpu", "--gpus=1", "--mem=8G", "--requeue", "--signal=USR2@60"):
        assert f"#SBATCH {line}" in lines
    assert {"#SBATCH --cpus-per-task=2", "export OMP_NUM_THREADS=2", "#SBATCH --time=04:00:00"} <= set(lines)
    assert not (tmp_path / "runs").exists()
    options = parse_options(["partition=gpu,gpus=1,mem=8G,signal=USR2@60"])
    ids = slurm.submit(print, [1, 2, 3, 4], options, tmp_path / "runs" / ".slurm", 2, 3)
    assert ids == ["1_0", "1_1", "1_2", "1_3"]
    assert (queue / "1.sbatch").read_text() == told.out.removesuffix("\n")
    as_json = json.loads(dsabench(*words, "--json").out)
    assert as_json["runs"] == ["simclr s0", "byol s0", "simclr s1", "byol s1"]
    wait_for(lambda: slurm.in_queue() == {})


def test_a_gpu_that_is_not_here_is_planned_for(queue: Path, tmp_path: Path) -> None:
    words = ("compare", "simclr", "byol", "--epochs", 1, "--launcher", "slurm", "--runs", tmp_path, "--dry-run", "-v")
    planned = dsabench(*words, "--slurm", "gpus=1")
    assert planned.code == 0, planned.err
    assert dsabench(*words).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--launcher", "cloud"), "unknown value of --launcher 'cloud'"),
        (("--slurm", "mem=1G"), "--slurm is for --launcher slurm"),
        (("--launcher", "slurm", "--overwrite", "always"), "dsabench remove"),
        (("--jobs", "0"), "--jobs must be a whole number"),
        (("--jobs", "many"), "--jobs must be a whole number"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: tuple[str, ...], message: str) -> None:
    refused = dsabench("compare", *SPECS, *words)
    assert refused.code == 2
    assert message in refused.err


def test_without_slurm_or_where_it_refuses_one_line_says_so(
    queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(UsageError, match=r"sbatch refused: .*invalid partition"):
        run_on(cluster(tmp_path / "runs"), jobs(), shop(tmp_path / "runs"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert slurm.in_queue() is None
    assert not slurm.requeue()
    with pytest.raises(UsageError, match="not on the PATH"):
        run_on(cluster(tmp_path / "runs"), jobs(), shop(tmp_path / "runs"))


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_killed_preempted_and_abandoned_runs_end_as_without(queue: Path, tmp_path: Path) -> None:
    todo, runs = jobs(epochs=40), tmp_path / "runs"
    told: list[str] = []
    closed = shop(runs)

    def close(line: str) -> None:
        told.append(line)
        closed.stop.request(signal.SIGINT)

    with pytest.raises(Interrupted, match=r"2 runs on Slurm: 2 queued; .* scancel 1$") as ended:
        run_on(cluster(runs, close), todo, closed)
    assert ended.value.exit_code == 130

    def harm() -> None:
        for job, number in zip(todo, (signal.SIGKILL, signal.SIGUSR1), strict=True):
            folder = job.config.folder(runs)
            wait_for(lambda folder=folder: holder(folder) and list(folder.glob("checkpoints/*.safetensors")))
            found = holder(folder)
            # Quick runs may be over by now, and then nothing was shown.
            assert found is not None
            os.kill(found.pid, number)
            harmed.append(number)

    harmed: list[int] = []
    thread = threading.Thread(target=harm)
    thread.start()
    rows = run_on(cluster(runs, told.append), todo, shop(runs))
    thread.join()
    assert harmed == [signal.SIGKILL, signal.SIGUSR1]
    # The killed one was submitted again; the preempted one put itself back into the queue, and was not.
    arrays = {one for ids in submissions(runs / ".slurm").values() for one in ids}
    assert arrays == {"1_0", "1_1", "2"}
    assert told[-1] == "2 runs on Slurm: 2 done"
    whole = run_all(todo, 1, shop(tmp_path / "whole"))
    assert list(map(comparable, rows)) == list(map(comparable, whole))
    for job in todo:
        states = [Store(store).run(job.config).state["weights_sha256"] for store in (runs, tmp_path / "whole")]
        assert states[0] == states[1]
    # Whoever asks again reads what is there, without Slurm.
    assert run_on(cluster(runs), todo, shop(runs)) == rows


def test_states_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo, store = jobs(), Store(tmp_path)
    places = [
        submission.Submitted(job, store.run(job.config), ids) for job, ids in zip(todo, (["7_0"], []), strict=True)
    ]

    def states(queue: dict[str, str] | None) -> list[str]:
        monkeypatch.setattr(slurm, "in_queue", lambda: queue)
        submission.look(places)
        return [place.state for place in places]

    assert states({"7_0": "PENDING"}) == ["queued", "missing"]
    assert states({"7_0": "RUNNING"})[0] == "running"
    assert states(None)[0] == "queued"
    # Seen nowhere once, it may just have ended; twice, it is gone.
    assert states({})[0] == "absent"
    assert submission.summary(places[:1]) == "1 runs on Slurm: 1 running"
    assert states({})[0] == "missing"
    error = error_path(places[0].run, places[0].job)
    error.parent.mkdir(parents=True)
    error.write_text("no such data")
    with pytest.raises(RunFailed, match="simclr s0: no such data"):
        states({})
    # It is said once: whoever asks again has mended it.
    assert not error.exists()
    places[0].tries = submission.MOST_TRIES
    with pytest.raises(RunFailed, match="3 tasks ended without a result"):
        submission.submit(cluster(tmp_path), places)


@pytest.mark.parametrize(
    ("saved", "scontrol", "said"), [(0, True, "not requeued"), (4, False, "submits it again"), (4, True, "")]
)
def test_a_task_goes_back_into_the_queue_where_it_got_on(
    saved: int,
    scontrol: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = jobs()[0]
    asked: list[int] = []

    def rows(self: Job, inside: Workshop) -> None:
        run = inside.store.run(self.config)
        monkeypatch.setattr(type(run), "reload", lambda run: run.state.update(step=saved))
        inside.stop.request(signal.SIGUSR1)
        inside.stop.check()

    def requeue() -> bool:
        asked.append(1)
        return scontrol

    monkeypatch.setattr(Job, "rows", rows)
    monkeypatch.setattr("dsabench.launch.array_task.requeue", requeue)
    monkeypatch.setattr(Stop, "listen", lambda self, **_: self)
    with pytest.raises(SystemExit, match="143"):
        work(Task(job, tmp_path, False))
    assert len(asked) == (1 if saved else 0)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "array", "back"),
    [
        ("RUNNING", True, True),
        ("RUNNING", False, True),
        ("CANCELLED", True, False),
        ("TIMEOUT", True, False),
        ("", True, False),
    ],
)
def test_what_was_cancelled_does_not_come_back(
    state: str, array: bool, back: bool, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    name = "7_3" if array else "12"
    if array:
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    if state:
        (queue / name).write_text(state)
    assert slurm.requeue() is back
    assert (queue / f"{name}.requeue").exists() is back


def test_rows_belong_to_what_was_measured(tmp_path: Path) -> None:
    job = jobs()[0]
    run = Store(tmp_path).run(job.config)
    others = [replace(job, what=EvalConfig(("knn",))), replace(job, tuning="by hand")]
    assert len({rows_path(run, one) for one in (job, *others)}) == 3
    write_csv([], rows_path(run, job))
    run.erase()
    assert not rows_path(run, job).exists()
