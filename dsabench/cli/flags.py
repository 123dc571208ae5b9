"""The flags of the commands, in groups that several share: words, nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dsabench.cli import completion
from dsabench.cli.config_file import read_config
from dsabench.errors import unknown

if TYPE_CHECKING:
    from dsabench.config.eval_config import EvalConfig
    from dsabench.config.request import Request
    from dsabench.data.data_config import DataConfig
    from dsabench.tables.criteria import Criteria

WHAT, TRAINING, VERDICT, MACHINE, FILES, OUTPUT = "What", "Training", "Verdict", "Machine", "Files", "Output"
SOURCES = "Models and features that you have"


def option(panel: str, help: str, *names: str, env: str | None = None, **more: Any) -> Any:
    """A flag in a group of the help; `env` is the environment variable that stands in for it."""
    if "min" in more:
        # What typer writes for a range leaves no room for help on a narrow terminal.
        more = {"metavar": "N", **more}
    # Brackets are rich's markup there, and the options of a probe would vanish.
    plain = help.replace("[", r"\[")
    return typer.Option(*names, help=plain, rich_help_panel=panel, envvar=env, **more)


Specs = Annotated[
    list[str],
    typer.Argument(
        help="METHOD or METHOD+REGULARIZER of: dsabench list methods, dsabench list regularizers; the first is the "
        "baseline.",
        autocompletion=completion.specs,
    ),
]
Dataset = Annotated[
    str,
    option(
        WHAT,
        "Data set, csv:FILE, wds:PATTERN or hf:NAME; see: dsabench list datasets.",
        env="DSABENCH_DATASET",
        autocompletion=completion.datasets,
    ),
]
DataDir = Annotated[
    Path | None, option(WHAT, "Where the images lie, or downloads go.", env="DSABENCH_DATA_DIR", show_default="data")
]
DataName = Annotated[
    str | None,
    option(
        WHAT,
        "What tables call images of your own; changes no run.",
        env="DSABENCH_DATA_NAME",
        show_default="imagefolder",
    ),
]
TrainImages = Annotated[
    int | None, option(WHAT, "Train on a fixed subset of so many images.", show_default="all", min=1)
]
Subset = Annotated[str, option(WHAT, "How that subset is drawn: stratified by label, or random.")]
ImageSize = Annotated[int | None, option(WHAT, "Side of the images in pixels.", show_default="their own", min=1)]
ValShare = Annotated[
    float | None, option(WHAT, "Share of the training images held out to choose on.", show_default="0.1")
]
GroupBy = Annotated[
    str | None,
    option(
        WHAT,
        "Never split images of one group: a regular expression on file names, with the group in parentheses.",
        metavar="PATTERN",
    ),
]
Contaminate = Annotated[
    str | None,
    option(
        WHAT,
        "Replace a share of the pretraining images: noise=0.1, duplicates=0.1, foreign=DATASET:0.1.",
        show_default="none",
    ),
]
Offline = Annotated[bool, option(MACHINE, "Never download.", "--offline", env="DSABENCH_OFFLINE")]
Runs = Annotated[Path, option(FILES, "The run store.", env="DSABENCH_RUNS")]
Where = Annotated[
    list[str] | None,
    option(WHAT, "Runs of this alone; repeatable: of one key either value, of several keys all.", metavar="KEY=VALUE"),
]
Json = Annotated[bool, option(OUTPUT, "Machine-readable on stdout.", "--json")]
Debug = Annotated[bool, option(OUTPUT, "A traceback where there is an error.", "--debug", env="DSABENCH_DEBUG")]
Tensorboard = Annotated[
    bool, option(OUTPUT, "Write the log as TensorBoard's event files too, while training.", "--tensorboard")
]


def subset_of(word: str) -> Literal["random"] | None:
    """How a subset is drawn; None is what there was before there was a choice. Raises UsageError for another word."""
    if word not in ("stratified", "random"):
        raise unknown("value of --subset", word, ("stratified", "random"))
    return "random" if word == "random" else None


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and how."""

    dataset: Dataset = "digits"
    data_dir: DataDir = None
    data_name: DataName = None
    train_images: TrainImages = None
    subset: Subset = "stratified"
    image_size: ImageSize = None
    val_share: ValShare = None
    group_by: GroupBy = None
    backbone: Annotated[
        str | None,
        option(
            WHAT,
            "A preset, or a model of timm: below 64 px of ResNet, ConvNeXt or ViT alone; see: dsabench list backbones.",
            env="DSABENCH_BACKBONE",
            autocompletion=completion.backbones,
            show_default="resnet8 below 32 px, else resnet18",
        ),
    ] = None
    epochs: Annotated[
        int | None, option(TRAINING, "Epochs.", env="DSABENCH_EPOCHS", show_default="the method's", min=1)
    ] = None
    batch_size: Annotated[
        int | None, option(TRAINING, "Images a step.", env="DSABENCH_BATCH_SIZE", show_default="the method's", min=1)
    ] = None
    settings: Annotated[
        list[str] | None,
        option(
            TRAINING,
            "An option of the arms that have it: method.KEY=VALUE or regularizer.KEY=VALUE; repeatable.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = None
    augment: Annotated[
        str, option(TRAINING, "batched, or reference: torchvision's image by image.", env="DSABENCH_AUGMENT")
    ] = "batched"
    device: Annotated[str, option(MACHINE, "auto, cuda, mps or cpu.", env="DSABENCH_DEVICE")] = "auto"
    precision: Annotated[str, option(MACHINE, "auto, fp32 or bf16.", env="DSABENCH_PRECISION")] = "auto"
    threads: Annotated[
        int, option(MACHINE, "CPU threads of a run; part of its identity.", env="DSABENCH_THREADS", min=1)
    ] = 1
    deterministic: Annotated[
        bool, option(MACHINE, "Exact repetition on CUDA too, at some cost.", "--deterministic")
    ] = False
    compile: Annotated[bool, option(MACHINE, "Compile the backbone: slow to start, faster on a GPU.", "--compile")] = (
        False
    )
    offline: Offline = False
    contaminate: Contaminate = None

    def data(self) -> DataConfig:
        """Which data, and how much of them."""
        from dsabench.data.data_config import DataConfig, located, parse_contamination

        return DataConfig(
            name=located(self.dataset),
            folder=str(self.data_dir.resolve()) if self.data_dir else None,
            title=self.data_name,
            train_images=self.train_images,
            subset=subset_of(self.subset),
            image_size=self.image_size,
            val_share=self.val_share,
            group_by=self.group_by,
            contaminate=str(parse_contamination(self.contaminate or "")) or None,
        )

    def request(self, specs: Sequence[str], seeds: Sequence[int]) -> Request:
        """The checked request for these runs; raises UsageError or DataError, before anything heavy is imported."""
        from dsabench.config.request import Request, parse_settings
        from dsabench.config.spec import parse_spec

        request = Request(
            specs=tuple(map(parse_spec, specs)),
            seeds=tuple(seeds),
            data=self.data(),
            backbone=self.backbone,
            epochs=self.epochs,
            batch_size=self.batch_size,
            settings=parse_settings(self.settings or ()),
            augment=self.augment,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            deterministic=self.deterministic,
            compile=self.compile,
        )
        request.check()
        return request


@dataclass(frozen=True)
class Measuring:
    """What is measured of a trained model."""

    probe: Annotated[
        list[str] | None,
        option(
            WHAT,
            "A probe or a metric, or crowding for the core metrics; repeatable; see: dsabench list probes.",
            "--probe",
            autocompletion=completion.evaluators,
            show_default="all of the core",
        ),
    ] = None
    split: Annotated[str, option(WHAT, "test or val.")] = "test"
    layer: Annotated[
        list[str] | None,
        option(
            WHAT,
            "backbone, projector, pixels, smooth[k=20], whiten, adjust, a module (blocks.8), in eval all; repeatable.",
            show_default="backbone",
        ),
    ] = None

    def config(self, leading: str | None = None, **more: Any) -> EvalConfig:
        """The checked configuration; raises UsageError for a name that does not exist.

        `leading` is the layer that carries a verdict, in whichever order the layers were named: it stands first.
        Raises UsageError where others were asked for without it. With `modules=True` a layer may be any module of a
        model, which is checked when the model is there.
        """
        from dsabench.config.eval_config import EvalConfig, led_by, parse_parts
        from dsabench.evaluation.words import CORE, asked

        layers = parse_parts(self.layer or ()) or parse_parts((leading or "backbone",))
        config = EvalConfig(probes=tuple(self.probe or CORE), layers=layers, split=self.split, **more)
        config.check()
        asked(config.probes)
        return config if leading is None else replace(config, layers=led_by(layers, *parse_parts((leading,))))


@dataclass(frozen=True)
class Deciding:
    """What a comparison declares before it looks."""

    primary: Annotated[
        str, option(VERDICT, "The one metric that carries the verdict, of the backbone, or METRIC@LAYER.")
    ] = "cdnv"
    guard: Annotated[
        list[str] | None,
        option(
            VERDICT,
            "A metric that must not pay for the primary one; repeatable.",
            "--guard",
            show_default="knn, and fewshot of 5 labels a class",
        ),
    ] = None
    margin: Annotated[str, option(VERDICT, "How much a guard may fall, in its own units.")] = "0.01"
    smallest_effect: Annotated[
        str, option(VERDICT, "The least gain that matters, as a share of the baseline's mean.")
    ] = "0.05"

    def criteria(self) -> Criteria:
        """The checked criteria; raises UsageError for a metric that does not exist or carries no verdict."""
        from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary, parse_share

        metric, _, layer = self.primary.partition("@")
        margin = parse_share("--margin", self.margin)
        return Criteria(
            parse_primary(metric),
            tuple(parse_guard(text, margin) for text in self.guard or GUARDS),
            parse_share("--smallest-effect", self.smallest_effect),
            layer or "backbone",
        )


# What is written over: nothing that was not the same thing, tables of other things, and finished runs.
OVERWRITE = ("never", "tables", "always")


@dataclass(frozen=True)
class Common:
    """Where things are kept, and how much is said."""

    config: Annotated[
        Path | None,
        option(FILES, "A TOML file of flags, such as a run's config.toml.", callback=read_config, is_eager=True),
    ] = None
    runs: Runs = Path("runs")
    overwrite: Annotated[
        str, option(FILES, "never; tables: also those of something else; always: train runs again too.")
    ] = "never"
    dry_run: Annotated[bool, option(OUTPUT, "Print the plan with its cost; train nothing.", "--dry-run")] = False
    as_json: Json = False
    quiet: Annotated[bool, option(OUTPUT, "No progress.", "--quiet", "-q")] = False
    verbose: Annotated[bool, option(OUTPUT, "Print each run's resolved configuration first.", "--verbose", "-v")] = (
        False
    )
    debug: Debug = False

    @property
    def always(self) -> bool:
        """Whether finished runs are trained again; raises UsageError for another word."""
        if self.overwrite not in OVERWRITE:
            raise unknown("value of --overwrite", self.overwrite, OVERWRITE)
        return self.overwrite == "always"
