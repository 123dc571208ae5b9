import pytest
import torch

from dsabench.config.cautions import adjusted_beside_others, cautions
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import parse_part, parse_spec
from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Split
from dsabench.data.notes import in_colour


@pytest.fixture(scope="module")
def run() -> RunConfig:
    data = DataConfig(name="synthetic", image_size=8)
    request = Request(specs=(parse_spec("simclr"),), data=data, batch_size=64, device="cpu")
    (config,) = plan(request, load_dataset(data))
    return config


def test_what_is_usual_is_no_matter_for_words(run: RunConfig) -> None:
    assert cautions([run] * 4, 256, None, 2) == []
    assert cautions([run] * 4, 256, 2, 2) == []
    assert cautions([run], 64, 1, 1) == []


@pytest.mark.parametrize(
    ("changes", "jobs", "words"),
    [
        ({"threads": 99}, None, "--threads 99 on 2 cores"),
        ({"batch_size": 1000}, None, "--batch-size 1000 is more than the 256 training images"),
        ({}, 50, "--jobs 50 is more than the 4 runs"),
        ({}, 3, "--jobs 3 on 2 cores"),
        ({"threads": 2}, 2, "--jobs 2 of 2 threads on 2 cores"),
    ],
)
def test_what_is_hardly_meant_is_one_line(
    run: RunConfig, changes: dict[str, int], jobs: int | None, words: str
) -> None:
    (caution,) = cautions([run.model_copy(update=changes)] * 4, 256, jobs, 2)
    assert caution.startswith("warning: ")
    assert words in caution
    assert "\n" not in caution


@pytest.mark.parametrize(
    ("regularizer", "epochs", "words"),
    [
        ("dsa[weight=3]", 1, "dsa starts at step 3 of 4: it acts in 2 of them"),
        ("dsa[push=1]", 1, "dsa starts at step 3 of 4: it acts in 2 of them"),
        ("dsa", 1, ""),
        ("dsa-pull[start=1]", 50, "dsa-pull starts after the last of 200 steps: it does nothing"),
        ("dsa[weight=3]", 8, ""),
        ("dsa[start=0,weight=3]", 5, ""),
        ("koleo", 1, ""),
        (
            "dsa[k=5,trust=none]",
            8,
            "dsa[k=5,trust=none] draws nobody: without weight or push, k, trust changes nothing",
        ),
        ("dsa[k=5,push=1]", 8, ""),
        ("dsa[adjust=off,spread=0.1]", 8, ""),
        ("dsa-nested[k=5]", 8, ""),
    ],
)
def test_a_regularizer_that_cannot_do_what_it_is_asked_for_is_told_of(
    regularizer: str, epochs: int, words: str
) -> None:
    data = DataConfig(name="synthetic", image_size=8)
    specs = (parse_spec("simclr"), parse_spec(f"simclr+{regularizer}"))
    request = Request(specs=specs, seeds=(0, 1), data=data, batch_size=64, epochs=epochs, device="cpu")
    found = cautions(plan(request, load_dataset(data)), 256, None, 2)
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_small_images_in_colour_are_told_of_views_with_colours(run: RunConfig) -> None:
    (caution,) = cautions([run] * 4, 256, None, 2, colour=True)
    assert caution.startswith("warning: the images have colours, and the views of simclr are those for digits")
    assert caution.endswith("--set method.views=asymmetric")
    said = run.model_copy(update={"spec": parse_spec("simclr[views=digits]")})
    larger = run.model_copy(update={"resolved": run.resolved.model_copy(update={"views": "asymmetric"})})
    assert cautions([said, larger], 256, None, 2, colour=True) == []


def test_colours_are_told_from_grey_that_was_compressed() -> None:
    grey = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8).expand(6, 3, 8, 8)
    labels = torch.zeros(6, dtype=torch.int64)
    noise = torch.randint(0, 10, (6, 3, 8, 8), dtype=torch.uint8)
    assert not in_colour(Split(labels, grey.clamp(0, 240) + noise))
    assert not in_colour(Split(labels, grey[:, :1]))
    coloured = grey.clone()
    coloured[5, 1] = 0
    assert in_colour(Split(labels, coloured))


def test_an_accelerator_has_threads_of_its_own(run: RunConfig) -> None:
    assert cautions([run.model_copy(update={"threads": 99, "device": "cuda"})], 256, None, 2) == []


@pytest.mark.parametrize(
    ("specs", "layers", "said"),
    [
        (("simclr", "simclr+dsa"), ("backbone",), True),
        (("simclr", "simclr+dsa", "byol+dsa[adjust=off]"), ("backbone", "projector"), True),
        (("simclr", "simclr+dsa"), ("backbone", "adjust[k=4]"), False),
        (("simclr+dsa", "byol+dsa"), ("backbone",), False),
        (("simclr", "simclr+dsa-nested", "simclr+dsa[adjust=off]"), ("backbone",), False),
    ],
)
def test_arms_that_end_otherwise_than_others_are_said(
    specs: tuple[str, ...], layers: tuple[str, ...], said: bool
) -> None:
    data = DataConfig(name="synthetic", image_size=8)
    planned = plan(Request(tuple(map(parse_spec, specs)), data=data, device="cpu"), load_dataset(data))
    line = adjusted_beside_others(planned, tuple(map(parse_part, layers)))
    assert bool(line) == said
    assert not said or "the features of simclr+dsa are adjusted in the end" in line
