"""The run folder and its checkpoints: what is missing or does not fit is named."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, UsageError
from dsabench.launch.work import facts
from dsabench.signals import Stop
from dsabench.training.checkpoint import (
    module_state,
    read_checkpoint,
    restore_module,
    write_checkpoint,
)
from dsabench.training.lock import is_held
from dsabench.training.run import Run
from dsabench.training.store import Store

SHA = "0" * 64


def begun(store: Store, seed: int = 0) -> Run:
    """A run that has begun and saved nothing."""
    request = Request((parse_spec("simclr"),), (seed,), DataConfig(name="synthetic", image_size=8), "resnet8w16")
    dataset = Datasets().load(request.data)
    (config,) = plan(request, dataset)
    run = store.run(config)
    run.begin(**facts(config, dataset, 1, None))
    return run


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} is no run: it has no run.json")):
        Run.load(tmp_path)


def test_the_log_of_a_run_under_way_may_be_newer_than_its_state(tmp_path: Path) -> None:
    run = begun(Store(tmp_path))
    assert run.last_epoch() == {}
    known = run.write_log([{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.5, "similar_precision": 0.5}])
    run.update(log_sha256=known)
    assert run.last_epoch() == {"epoch": 2.0, "loss": 1.5, "similar_precision": 0.5}
    run.write_log([{"epoch": 1.0, "loss": 2.0}])
    assert run.last_epoch() == {}


@pytest.mark.parametrize("text", ["", "epoch,loss\n1.0,x\n", "epoch,loss\n1.0\n", "\udcff"])
def test_the_log_of_an_earlier_version_has_no_hash_and_is_named_where_it_cannot_be_read(
    text: str, tmp_path: Path
) -> None:
    run = begun(Store(tmp_path))
    (run.folder / "log.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=re.escape(f"{run.folder / 'log.csv'} is damaged")):
        run.last_epoch()


def test_two_checkpoints_are_kept_and_the_others_removed(tmp_path: Path) -> None:
    run = begun(Store(tmp_path))
    assert run.checkpoint is None
    for step in (1, 2, 3, 3):
        path = run.folder / "checkpoints" / f"step-{step:08d}.safetensors"
        run.add_checkpoint(path, write_checkpoint(path, {"x": torch.ones(1)}, {"step": step}), step=step)
    assert run.checkpoint is not None
    assert run.checkpoint.name == "step-00000003.safetensors"
    assert len(list((run.folder / "checkpoints").iterdir())) == 2
    assert [path.name[5:13] for path in run.sound_checkpoints()] == ["00000003", "00000002"]
    assert not run.is_complete()


def test_checkpoints_that_a_killed_process_left_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(Store(tmp_path))
    paths = [run.folder / "checkpoints" / f"step-{step:08d}.safetensors" for step in (1, 2, 3)]
    for step, path in enumerate(paths, start=1):
        known = write_checkpoint(path, {"x": torch.ones(1)}, {"step": step})
        with monkeypatch.context() as patch:
            # Killed when the newest was entered and the oldest not yet removed.
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            run.add_checkpoint(path, known)
    assert run.strays() == paths[:1]
    # A process that has seen nothing yet, which finds that another was there meanwhile.
    late = Run.load(run.folder)
    late.state["checkpoints"] = []
    late.tidy(Stop())
    assert (sorted(paths[0].parent.iterdir()), late.strays(), is_held(run.folder)) == (paths[1:], [], False)


def test_a_run_is_found_by_what_tells_it_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [begun(store, seed) for seed in range(17)]
    ids = [run.config.run_id for run in runs]
    assert store.find(str(runs[0].folder)).config == runs[0].config
    assert store.find(ids[3]).config == runs[3].config
    # Of seventeen two begin alike.
    shared = next(letter for letter in "0123456789abcdef" if sum(one.startswith(letter) for one in ids) > 1)
    with pytest.raises(UsageError, match="is the beginning of"):
        store.find(shared)
    with pytest.raises(DataError, match="no run 'x'"):
        store.find("x")
    (runs[0].folder / "run.json").write_text("{}")
    assert len(store.runs(warn=False)) == 16


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    state = module_state(module, "method")
    path = tmp_path / "step-00000001.safetensors"
    write_checkpoint(path, state, {"step": 1})
    tensors, meta = read_checkpoint(path)
    assert meta == {"step": 1}
    for wrong, message in (
        ({"method.weight": tensors["method.weight"]}, "missing ['method.bias']"),
        ({**tensors, "method.more": torch.ones(1)}, "unexpected ['method.more']"),
        ({**tensors, "method.bias": torch.ones(4)}, "method.bias is (4,) torch.float32, expected (3,)"),
        ({**tensors, "method.bias": tensors["method.bias"].double()}, "expected (3,) torch.float32"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            restore_module(module, "method", wrong)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=re.escape(f"cannot read the checkpoint {path}")):
        read_checkpoint(path)
