"""How many runs share an accelerator: as many as pay, measured once."""

from pathlib import Path

import pytest

from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.launch import sharing
from dsabench.launch.sharing import fastest, jobs_for
from dsabench.training.store import Store


@pytest.fixture(scope="module")
def config() -> RunConfig:
    data = DataConfig(name="synthetic", image_size=8)
    request = Request((parse_spec("simclr+dsa"),), (0,), data, "resnet8w16", batch_size=64, device="cpu")
    (planned,) = plan(request, Datasets().load(data))
    return planned


@pytest.mark.parametrize(
    ("rates", "runs", "best"),
    [
        ({1: 100.0, 2: 180.0, 3: 220.0, 4: 225.0}, 12, 3),
        ({1: 100.0, 2: 105.0}, 12, 1),
        # It did not fit.
        ({1: 100.0, 2: 0.0}, 12, 1),
        ({1: 100.0, 2: 200.0}, 2, 2),
    ],
)
def test_one_more_has_to_pay(rates: dict[int, float], runs: int, best: int, config: RunConfig) -> None:
    assert fastest(config, runs, False, lambda _, count, offline: rates[count]) == (best, rates)


def test_it_is_measured_once_and_said(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    said: list[str] = []

    def rate(_: RunConfig, count: int, offline: bool) -> float:
        asked.append(count)
        return {1: 1000.0, 2: 1900.0, 3: 1950.0}[count]

    monkeypatch.setattr(sharing, "rate", rate)
    monkeypatch.setattr(sharing, "device_name", lambda device: "A GPU")
    on_gpu = config.model_copy(update={"device": "cuda"})
    for seed in (0, 1):
        other = on_gpu.model_copy(update={"seed": seed})
        assert jobs_for(other, 12, Store(tmp_path), False, said.append) == 2
    assert asked == [1, 2, 3]
    assert said == [
        "side by side on one accelerator: 1: 1,000 images/s, 2: 1,900 images/s, 3: 1,950 images/s; --jobs 2"
    ]
    assert jobs_for(on_gpu, 1, Store(tmp_path), False, said.append) == 1
    # Of other sizes nothing is known.
    monkeypatch.setattr(sharing, "fastest", lambda *_: (4, {4: 1.0}))
    assert jobs_for(on_gpu.model_copy(update={"batch_size": 32}), 12, Store(tmp_path), False, said.append) == 4
    (tmp_path / sharing.NOTE).write_text("{")
    assert jobs_for(on_gpu, 12, Store(tmp_path), False, said.append) == 4


def test_processes_train_together_and_say_how_fast(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MEASURED_S", 0.1)
    assert sharing.rate(config, 1, False) > 0
    # One that ends without a word counts for nothing.
    assert sharing.rate(config.model_copy(update={"backbone": "none"}), 1, False) == 0.0
