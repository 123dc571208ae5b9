"""The flags of the commands, in groups that several share, and the file that may hold them: words, nothing heavy."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dsabench.errors import DataError, UsageError, unknown

if TYPE_CHECKING:
    from dsabench.config.eval_config import EvalConfig
    from dsabench.config.request import Request
    from dsabench.tables.criteria import Criteria

WHAT, TRAINING, VERDICT, MACHINE, FILES, OUTPUT = "What", "Training", "Verdict", "Machine", "Files", "Output"


def option(panel: str, help: str, *names: str, env: str | None = None, **more: Any) -> Any:
    """A flag in a group of the help; `env` is the environment variable that stands in for it."""
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=env, show_envvar=False, **more)


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make a TOML file's values the defaults of a command: below flags and the environment, above the built-in ones."""
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the configuration {path} is not valid TOML: {error}") from error
    flags = {flag_name(parameter): parameter for parameter in context.command.params}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        flag = key.replace("_", "-")
        if flag not in flags or flag == "config":
            near = get_close_matches(flag, flags, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(flags))}"
            raise UsageError(f"unknown key {key!r} in {path}{hint}")
        if isinstance(value, list) and not flags[flag].multiple and flags[flag].nargs == 1:
            value = ",".join(map(str, value))
        defaults[str(flags[flag].name)] = value
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def flag_name(parameter: Any) -> str:
    """A parameter's long flag without its dashes, or an argument's name."""
    return next((text[2:] for text in parameter.opts if text.startswith("--")), str(parameter.name))


Specs = Annotated[list[str], typer.Argument(help="METHOD or METHOD+REGULARIZER; the first is the baseline.")]
Dataset = Annotated[str, option(WHAT, "Data set; see: dsabench list datasets.", env="DSABENCH_DATASET")]
DataDir = Annotated[
    Path | None, option(WHAT, "Where the images lie, or downloads go.", env="DSABENCH_DATA_DIR", show_default="data")
]
DataName = Annotated[
    str | None, option(WHAT, "What tables call an image folder.", env="DSABENCH_DATA_NAME", show_default="imagefolder")
]
TrainImages = Annotated[
    int | None, option(WHAT, "Train on a fixed subset of so many images.", show_default="all", min=1)
]
Subset = Annotated[str, option(WHAT, "How that subset is drawn: stratified by label, or random.")]
ImageSize = Annotated[int | None, option(WHAT, "Side of the images in pixels.", show_default="their own", min=1)]
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
Json = Annotated[bool, option(OUTPUT, "Machine-readable on stdout.", "--json")]
Debug = Annotated[bool, option(OUTPUT, "A traceback where there is an error.", "--debug", env="DSABENCH_DEBUG")]


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
    backbone: Annotated[
        str | None,
        option(
            WHAT,
            "A preset, or any timm model; see: dsabench list backbones.",
            env="DSABENCH_BACKBONE",
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

    def request(self, specs: Sequence[str], seeds: Sequence[int]) -> Request:
        """The checked request for these runs; raises UsageError or DataError, before anything heavy is imported."""
        from dsabench.config.request import Request, parse_settings
        from dsabench.config.spec import parse_spec
        from dsabench.data.data_config import DataConfig, parse_contamination

        request = Request(
            specs=tuple(map(parse_spec, specs)),
            seeds=tuple(seeds),
            data=DataConfig(
                name=self.dataset,
                folder=str(self.data_dir.resolve()) if self.data_dir else None,
                title=self.data_name,
                train_images=self.train_images,
                subset=subset_of(self.subset),
                image_size=self.image_size,
                contaminate=str(parse_contamination(self.contaminate or "")) or None,
            ),
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
            show_default="all of the core",
        ),
    ] = None
    split: Annotated[str, option(WHAT, "test or val.")] = "test"
    layer: Annotated[
        list[str] | None,
        option(WHAT, "backbone, projector, pixels or smooth[k=20]; repeatable.", show_default="backbone"),
    ] = None

    def config(self, **more: Any) -> EvalConfig:
        """The checked configuration; raises UsageError for a name that does not exist."""
        from dsabench.config.eval_config import EvalConfig, parse_parts
        from dsabench.config.spec import Part
        from dsabench.evaluation.words import CORE, asked

        layers = parse_parts(self.layer or ()) or (Part("backbone"),)
        config = EvalConfig(probes=tuple(self.probe or CORE), layers=layers, split=self.split, **more)
        config.check()
        asked(config.probes)
        return config


@dataclass(frozen=True)
class Deciding:
    """What a comparison declares before it looks."""

    primary: Annotated[str, option(VERDICT, "The one metric that carries the verdict.")] = "cdnv"
    guard: Annotated[
        list[str] | None,
        option(
            VERDICT,
            "A metric that must not pay for the primary one; repeatable.",
            "--guard",
            show_default="knn and fewshot[classifier=centroid,shots=5]",
        ),
    ] = None
    margin: Annotated[str, option(VERDICT, "How much a guard may fall, in its own units.")] = "0.01"
    smallest_effect: Annotated[
        str, option(VERDICT, "The least gain that matters, as a share of the baseline's mean.")
    ] = "0.05"

    def criteria(self) -> Criteria:
        """The checked criteria; raises UsageError for a metric that does not exist or carries no verdict."""
        from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary, parse_share

        margin = parse_share("--margin", self.margin)
        return Criteria(
            parse_primary(self.primary),
            tuple(parse_guard(text, margin) for text in self.guard or GUARDS),
            parse_share("--smallest-effect", self.smallest_effect),
        )


@dataclass(frozen=True)
class Common:
    """Where things are kept, and how much is said."""

    config: Annotated[
        Path | None,
        option(FILES, "A TOML file of flags, such as a run's config.toml.", callback=read_config, is_eager=True),
    ] = None
    runs: Runs = Path("runs")
    overwrite: Annotated[str, option(FILES, "never, or always: train finished runs again.")] = "never"
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
        if self.overwrite not in ("never", "always"):
            raise unknown("value of --overwrite", self.overwrite, ("never", "always"))
        return self.overwrite == "always"
