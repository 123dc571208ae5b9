"""The flags that several commands share, and the file that may hold them. Words only: nothing heavy is imported."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from dsabench.errors import DataError, UsageError

WHAT, TRAINING, MACHINE, FILES, OUTPUT = "What", "Training", "Machine", "Files", "Output"

# Set by --debug: a traceback instead of a line.
DEBUG = {"on": False}


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


def set_debug(value: bool) -> bool:
    """Remember that tracebacks are wanted."""
    DEBUG["on"] = DEBUG["on"] or value
    return value


Dataset = Annotated[str, option(WHAT, "Data set; see: dsabench list datasets.", env="DSABENCH_DATASET")]
DataDir = Annotated[
    Path | None, option(WHAT, "Where the images lie, or downloads go.", env="DSABENCH_DATA_DIR", show_default="data")
]
DataName = Annotated[
    str | None, option(WHAT, "What tables call an image folder.", env="DSABENCH_DATA_NAME", show_default="imagefolder")
]
TrainImages = Annotated[
    int | None, option(WHAT, "Train on a fixed stratified subset of so many images.", show_default="all", min=1)
]
ImageSize = Annotated[int | None, option(WHAT, "Side of the images in pixels.", show_default="their own", min=1)]
Backbone = Annotated[
    str | None,
    option(
        WHAT,
        "A preset, or any timm model; see: dsabench list backbones.",
        env="DSABENCH_BACKBONE",
        show_default="resnet8 below 32 px, else resnet18",
    ),
]
Epochs = Annotated[int | None, option(TRAINING, "Epochs.", env="DSABENCH_EPOCHS", show_default="the method's", min=1)]
BatchSize = Annotated[
    int | None, option(TRAINING, "Images a step.", env="DSABENCH_BATCH_SIZE", show_default="the method's", min=1)
]
Settings = Annotated[
    list[str] | None,
    option(
        TRAINING,
        "An option of the arms that have it: method.KEY=VALUE or regularizer.KEY=VALUE; repeatable.",
        "--set",
        metavar="KEY=VALUE",
    ),
]
Augment = Annotated[
    str, option(TRAINING, "batched, or reference: torchvision's image by image.", env="DSABENCH_AUGMENT")
]
Device = Annotated[str, option(MACHINE, "auto, cuda, mps or cpu.", env="DSABENCH_DEVICE")]
Precision = Annotated[str, option(MACHINE, "auto, fp32 or bf16.", env="DSABENCH_PRECISION")]
Threads = Annotated[int, option(MACHINE, "CPU threads of a run; part of its identity.", env="DSABENCH_THREADS", min=1)]
Compile = Annotated[bool, option(MACHINE, "Compile the backbone: slow to start, faster on a GPU.", "--compile")]
Deterministic = Annotated[bool, option(MACHINE, "Exact repetition on CUDA too, at some cost.", "--deterministic")]
Offline = Annotated[bool, option(MACHINE, "Never download.", "--offline", env="DSABENCH_OFFLINE")]
Config = Annotated[
    Path | None,
    option(FILES, "A TOML file of flags, such as a run's config.toml.", callback=read_config, is_eager=True),
]
Runs = Annotated[Path, option(FILES, "The run store.", env="DSABENCH_RUNS")]
Overwrite = Annotated[str, option(FILES, "never, or always: train finished runs again.")]
DryRun = Annotated[bool, option(OUTPUT, "Print the plan with its cost; train nothing.", "--dry-run")]
Json = Annotated[bool, option(OUTPUT, "Machine-readable on stdout.", "--json")]
Quiet = Annotated[bool, option(OUTPUT, "No progress.", "--quiet", "-q")]
Verbose = Annotated[bool, option(OUTPUT, "Print each run's resolved configuration first.", "--verbose", "-v")]
Debug = Annotated[
    bool,
    option(
        OUTPUT,
        "A traceback where there is an error.",
        "--debug",
        callback=set_debug,
        is_eager=True,
        env="DSABENCH_DEBUG",
    ),
]
Probes = Annotated[
    list[str] | None,
    option(
        WHAT,
        "A probe, or crowding for the metrics; repeatable; see: dsabench list probes.",
        "--probe",
        show_default="all",
    ),
]
