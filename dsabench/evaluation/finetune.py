"""Fine-tuning: an encoder trained on with labels, all of them or few, by the engine that trains runs."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from dsabench.backbones.base import AdjustedBackbone, Backbone
from dsabench.config.fine_tuning import fine_tuning
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset, Split
from dsabench.data.loader import steps_per_epoch
from dsabench.data.splits import stratified
from dsabench.data.subset import subset
from dsabench.errors import RunFailed
from dsabench.evaluation.preprocessing import of_crops, prepared_batches, trained_on
from dsabench.evaluation.subject import Subject
from dsabench.evaluation.waiting import Waiting
from dsabench.registry import Scalar
from dsabench.training.beginning import facts
from dsabench.training.checkpoint import read_checkpoint
from dsabench.training.loop import fit
from dsabench.training.ranks import Alone
from dsabench.training.run import Run
from dsabench.training.state import State
from dsabench.types import Answer, Features, ProbeResult, Score

LR_GRID = (3e-4, 1e-3, 3e-3)
EVALUATED = 512


def semi(
    train: Features,
    val: Features,
    test: Features,
    *,
    seed: int,
    subject: Subject,
    share: float = 0.1,
    steps: int = 200,
    batch_size: int = 64,
) -> ProbeResult:
    """Answers after fine-tuning on a `share` of the labelled training images, as `finetune` does it.

    The subset is stratified, with one image of every class at least, and drawn by `seed`: arms with one seed learn from
    the same images. The protocol of 1% and 10% of the labels: Chen et al. 2020, arXiv 2002.05709, section 4.2. Raises
    ValueError as `finetune` does, and for a share above 1.
    Cost: training, `steps` steps a learning rate.
    """
    if share > 1:
        raise ValueError(f"a share of the labels is at most 1, got {share:g}")
    fitted = subject.images()[0]
    classes = len(torch.unique(fitted.labels))
    kept = stratified(fitted.labels, max(round(share * len(fitted)), classes), f"semi {seed}", leave=0)
    return _tuned(subject, "semi", subset(fitted, kept), seed, {"share": float(share)}, steps, batch_size)


def finetune(
    train: Features,
    val: Features,
    test: Features,
    *,
    seed: int,
    subject: Subject,
    steps: int = 400,
    batch_size: int = 64,
) -> ProbeResult:
    """Answers after fine-tuning on all labelled training images, and the `chosen_lr` that won on the validation images.

    All weights of the layer's model and a linear classifier on it, by AdamW (weight decay 1e-4) along a cosine, for at
    least `steps` steps in whole epochs of batches of `batch_size`; crops, and flips above 31 px. Of the learning rates
    3e-4, 1e-3 and 3e-3 the best accuracy on the validation images wins, ties to the smaller: Kornblith et al. 2019,
    arXiv 1805.08974. It is the loop of `pretrain`, so it goes on where it was stopped, with the same bits. No feature
    is read. Raises ValueError for a layer that is no model's own, and where no learning rate gives finite weights.
    Cost: training, `steps` steps a learning rate.
    """
    return _tuned(subject, "finetune", subject.images()[0], seed, {}, steps, batch_size)


def _tuned(
    subject: Subject, name: str, images: Split, seed: int, own: dict[str, Scalar], steps: int, batch_size: int
) -> ProbeResult:
    if subject.layer.name not in subject.encoder.layer_names:
        raise ValueError(f"fine-tuning goes on from a model's own layers, and {subject.layer} is none of them")
    _, chosen, scored = subject.images()
    dataset = trained_on(subject.dataset, subject.preprocess, images)
    params = {**own, "steps": steps, "batch_size": batch_size}
    best, lr, predicted = -1, LR_GRID[0], None
    with subject.workplace(name, {"seed": seed, **params}) as folder:
        for number, rate in enumerate(LR_GRID):
            config = configured(subject, dataset, rate, seed, steps, batch_size)
            waiting = Waiting(f"{subject.encoder.name}: {name}, learning rate {number + 1} of {len(LR_GRID)}")
            try:
                state = fine_tuned(subject, config, dataset, folder / f"lr-{rate:g}", waiting)
            except RunFailed:
                continue
            right = int((answers(state, subject, chosen) == chosen.labels).sum())
            if right > best:
                best, lr, predicted = right, rate, answers(state, subject, scored)
    if predicted is None:
        raise ValueError("fine-tuning gave no finite weights at any learning rate")
    return ProbeResult([Score("chosen_lr", lr, params, None)], [Answer(params, predicted[None])])


def configured(subject: Subject, dataset: Dataset, lr: float, seed: int, steps: int, batch_size: int) -> RunConfig:
    """The run that fine-tunes at a learning rate."""
    return fine_tuning(
        subject.data,
        str(subject.encoder.provenance["backbone"]),
        epochs=math.ceil(steps / steps_per_epoch(len(dataset.train), batch_size)),
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        device=subject.device.type,  # type: ignore[arg-type]
        threads=torch.get_num_threads(),
        views=of_crops(dataset),
    )


class OneDevice(Alone):
    """One process on any device in float32."""

    def __init__(self, device: torch.device) -> None:
        self.device = device


def fine_tuned(subject: Subject, config: RunConfig, dataset: Dataset, folder: Path, waiting: Waiting) -> State:
    """The state at the end of a run that begins with the encoder's weights and is kept in `folder` meanwhile.

    Raises RunFailed where it is not finite, Interrupted, after a checkpoint, where a signal came.
    """
    layer = subject.encoder.module(subject.layer.name)
    # What adjusts features is read off those that stay as they are.
    begun = layer.network if isinstance(layer, AdjustedBackbone) else layer
    network = copy.deepcopy(begun).requires_grad_(True)
    backbone = Backbone(network, feature_dim(network, dataset, subject.device))
    state = State(config, dataset, OneDevice(subject.device), backbone)
    run = Run.load(folder) if (folder / "run.json").exists() else Run.new(folder, config)
    with subject.stop.deferred(), run.locked(subject.stop, state.ranks):
        # Another process may have trained it while this one waited.
        run.reload()
        if run.is_complete():
            state.restore(*read_checkpoint(run.final_checkpoint()))
        else:
            run.begin(**facts(config, dataset, 1, run.state.get("started_utc")))
            fit(state, run, subject.stop, lambda step, total, loss, speed: waiting(step / total))
    return state


@torch.no_grad()
def feature_dim(network: nn.Module, dataset: Dataset, device: torch.device) -> int:
    """How many features a network in eval mode gives."""
    image = torch.zeros(1, dataset.channels, dataset.image_size, dataset.image_size, device=device)
    return int(network.to(device)(image).shape[1])


@torch.no_grad()
def answers(state: State, subject: Subject, split: Split) -> Tensor:
    """The classes (N,) that the fine-tuned model gives the images of a split, on the CPU."""
    model = nn.Sequential(state.method.backbone, state.method.get_submodule("classifier")).eval()
    batches = prepared_batches(split, subject.preprocess, batch_size=EVALUATED, device=subject.device)
    return torch.cat([model(images).argmax(dim=1).cpu() for images in batches])
