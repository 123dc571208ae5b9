"""Two processes that train one run: one of them writes, both decide alike and end with the same weights."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command import dsabench

from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.evaluation import features
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.feature_files import is_whole
from dsabench.evaluation.features import FeatureStore
from dsabench.training.checkpoint import read_checkpoint, tensors_sha256
from dsabench.training.run import Run

# What each of the two processes does, and prints as one line of JSON at its end.
PROGRAM = """
import json, os, shutil, sys, time
from pathlib import Path

import torch
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import Part, parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, Interrupted, ProcessLost, RunFailed
from dsabench.evaluation import features
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.features import FeatureStore
from dsabench.gather import gather_share, share_of
from dsabench.launch import work
from dsabench.signals import Stop
from dsabench.training import loop
from dsabench.training.checkpoint import tensors_sha256
from dsabench.training.ranks import Ranks, make_fabric, wait_at_most
from dsabench.training.store import Store

runs, said, updates = Path(sys.argv[1]), {}, []
request = Request(
    (parse_spec("byol+dsa-nested[start=0.4]"),),
    data=DataConfig(name="synthetic", image_size=8),
    backbone="resnet8w16",
    epochs=2,
    batch_size=64,
    device="cpu",
)
datasets = Datasets(offline=True)
(config,) = plan(request, datasets.load(request.data))
ranks = Ranks(make_fabric(config))
rank = ranks.rank


def raised(work):
    try:
        work()
    except DataError as error:
        return str(error)


def fail():
    raise DataError(f"of {rank}")


said["gathered"] = [
    gather_share(torch.arange(n)[share_of(n), None] * torch.tensor([1, 10]), n).tolist()
    for n in (1, 5, 6, 7)
]
said["agreed"] = ranks.agree(rank == 1, 7 - rank, 0)
said["mean"] = ranks.mean(torch.tensor([1.0 + rank, 3.0])).tolist()
said["nan"] = ranks.mean(torch.tensor([float("nan") if rank else 1.0])).tolist()
said["by_writer"] = ranks.by_writer(lambda: rank)
said["failed"] = raised(lambda: ranks.by_writer(fail))
said["equal"] = [ranks.are_equal(7), ranks.are_equal(rank)]

fit, step, states = work.fit, loop.step, []


def remembering(state, *others):
    states.append(state)
    fit(state, *others)


def train(name, before_step, stop):
    def patched(state, views):
        before_step(state)
        return step(state, views)

    work.fit, loop.step = remembering, patched
    try:
        run, reused = work.train(config, work.Workshop(Store(runs / name), datasets, stop, updates.append))
        said[name] = {"reused": reused, "state": run.state}
    except (Interrupted, ProcessLost, RunFailed) as error:
        said[name] = {"error": str(error), "code": error.exit_code}
    said[name]["weights"] = tensors_sha256(states[-1].modules())
    said[name]["batch"] = len(next(iter(loop.batches(states[-1], 0))).index)


def extracted(run):
    features.BATCH_SIZE = 50
    store = FeatureStore(run_encoder(run, datasets), datasets.load(request.data), torch.device("cpu"))
    for name in ("train", "test"):
        store.extract_together(Part("backbone"), name, ranks)
    return [str(store.path(Part("backbone"), name).name) for name in ("train", "test")]


def interrupt(state):
    # The fourth of eight steps is under way.
    if state.position.step == 3 and rank == 1:
        stop.exit_code = 143


def ruin(state):
    if state.position.step == 2 and rank == 1:
        with torch.no_grad():
            next(state.method.backbone.parameters()).fill_(float("nan"))


train("whole", lambda state: None, Stop())
said["extracted"] = extracted(Store(runs / "whole").run(config))
loop.CHECKPOINT_S = 0.0 if rank == 0 else 1e9
stop = Stop()
train("stopped", interrupt, stop)
said["between"] = said.pop("stopped")
if rank == 0:
    shutil.copytree(runs / "stopped", runs / "moved")
train("stopped", lambda state: None, Stop())
train("ruined", ruin, Stop())
said["updates"] = len(updates)


def hang(state):
    if state.position.step == 3 and rank == 1:
        print(json.dumps(said), flush=True)
        time.sleep(20)
        os._exit(0)


# All that is left waits no longer than this.
wait_at_most(4)
begun = time.monotonic()
train("hanging", hang, Stop())
said["lost_s"] = time.monotonic() - begun
print(json.dumps(said), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def told(runs: Path) -> list[dict[str, Any]]:
    """What each process said, the writer first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(runs)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        found = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, err) in zip(processes, found, strict=True):
        assert process.returncode == 0, err
    return [json.loads(out.splitlines()[-1]) for out, _ in found]


def folder_of(store: Path) -> Path:
    (folder,) = (path.parent for path in store.glob("*/*/*/run.json"))
    return folder


def test_rows_are_gathered_in_their_order_and_none_twice(told: list[dict[str, Any]]) -> None:
    for said in told:
        assert said["gathered"] == [[[i, 10 * i] for i in range(n)] for n in (1, 5, 6, 7)]


def test_processes_agree_and_share_what_one_of_them_knows(told: list[dict[str, Any]]) -> None:
    for said in told:
        assert said["agreed"] == [1, 7, 0]
        assert said["mean"] == [1.5, 3.0]
        assert math.isnan(said["nan"][0])
        assert said["by_writer"] == 0
        assert said["failed"] == "of 0"
        assert said["equal"] == [True, False]


def test_two_processes_train_and_save_one_run(told: list[dict[str, Any]], runs: Path) -> None:
    first, second = (said["whole"] for said in told)
    assert first == second
    assert first["batch"] == 32
    state = first["state"]
    assert (state["status"], state["n_devices"], state["images_seen"]) == ("finished", 2, 512)
    folder = folder_of(runs / "whole")
    assert {key: json.loads((folder / "run.json").read_text())[key] for key in state} == state
    tensors, meta = read_checkpoint(folder / "checkpoints" / state["checkpoints"][-1]["file"])
    assert meta["step"] == 8
    modules = {name: x for name, x in tensors.items() if name.startswith(("method.", "regularizer."))}
    assert tensors_sha256(modules) == first["weights"]
    assert all(torch.isfinite(x).all() for x in modules.values() if x.is_floating_point())
    # The log is of both: it would have DSA's pairs of 64 images, and the mean of both losses.
    assert [row["epoch"] for row in meta["log"]] == [1.0, 2.0]
    assert all(row["similar_precision"] > 0 for row in meta["log"])
    assert {path.name for path in folder.iterdir()} == {
        *("run.json", "config.toml", "log.csv", "checkpoints", "features", ".claim-000001.json")
    }
    # One of them alone tells the user.
    assert told[0]["updates"] > 0
    assert told[1]["updates"] == 0
    evaluated = dsabench("eval", folder, "--probe", "knn5", "--json")
    assert evaluated.code == 0, evaluated.err


def test_two_processes_extract_features_as_one_does(
    told: list[dict[str, Any]], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_SIZE", 50)
    run = Run.load(folder_of(runs / "whole"))
    datasets = Datasets(offline=True)
    store = FeatureStore(run_encoder(run, datasets), datasets.load(run.config.data), torch.device("cpu"))
    assert store.encoder.folder is not None
    for name, split in zip(told[0]["extracted"], ("train", "test"), strict=True):
        path = store.encoder.folder / name
        assert is_whole(path)
        together = path.read_bytes()
        path.unlink()
        store.get(Part("backbone"), split)
        assert path.read_bytes() == together
    assert not list(store.encoder.folder.glob("*.part*"))


def test_a_stop_in_one_process_ends_both_after_a_checkpoint_and_the_run_goes_on(
    told: list[dict[str, Any]], runs: Path
) -> None:
    for said in told:
        assert said["between"]["code"] == 143
        assert said["stopped"]["weights"] == said["whole"]["weights"]
        assert said["stopped"]["state"]["weights_sha256"] == said["whole"]["state"]["weights_sha256"]
    assert told[0]["between"]["weights"] == told[1]["between"]["weights"] != told[0]["whole"]["weights"]
    logs = [
        [{key: row[key] for key in row if key not in ("wall_s", "images_per_s")} for row in meta["log"]]
        for _, meta in (
            read_checkpoint(folder_of(runs / name) / "checkpoints" / "step-00000008.safetensors")
            for name in ("whole", "stopped")
        )
    ]
    assert logs[0] == logs[1]


def test_a_loss_that_is_not_finite_in_one_process_fails_both(told: list[dict[str, Any]], runs: Path) -> None:
    for said in told:
        assert "the loss is not finite at step 2 " in said["ruined"]["error"]
    assert json.loads((folder_of(runs / "ruined") / "run.json").read_text())["status"] == "failed"


def test_a_stopped_run_goes_on_in_one_process_with_the_same_batches(runs: Path, told: list[dict[str, Any]]) -> None:
    spec = (
        "--method",
        "byol+dsa-nested[start=0.4]",
        "--dataset",
        "synthetic",
        "--image-size",
        8,
        "--backbone",
        "resnet8w16",
    )
    size = ("--epochs", 2, "--batch-size", 64, "--device", "cpu")
    done = dsabench("pretrain", *spec, *size, "--runs", runs / "moved", "--json")
    assert done.code == 0, done.err
    state = json.loads((folder_of(runs / "moved") / "run.json").read_text())
    assert (state["status"], state["n_devices"], state["run_id"]) == (
        "finished",
        1,
        folder_of(runs / "whole").name[-12:],
    )
    logs = [
        read_checkpoint(folder_of(runs / name) / "checkpoints" / "step-00000008.safetensors")[1]["log"]
        for name in ("whole", "moved")
    ]
    for one, other in zip(*logs, strict=True):
        # What is rounded otherwise for three steps of AdamW has grown by then.
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert other["similar_precision"] == pytest.approx(one["similar_precision"], abs=0.05)


def test_a_process_that_hangs_ends_the_run_and_leaves_a_sound_checkpoint(
    told: list[dict[str, Any]], runs: Path
) -> None:
    said = told[0]
    assert "another process of this run ended or did not answer" in said["hanging"]["error"]
    assert said["lost_s"] < 30
    state = json.loads((folder_of(runs / "hanging") / "run.json").read_text())
    assert state["status"] == "interrupted"
    _, meta = read_checkpoint(folder_of(runs / "hanging") / "checkpoints" / state["checkpoints"][-1]["file"])
    assert meta["step"] in (1, 2, 3)
