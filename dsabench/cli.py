"""The command line: words and flags. What a command computes is imported when it runs, so that help is instant."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsabench import __version__, flags
from dsabench.errors import DsabenchError, Interrupted, UsageError, unknown
from dsabench.flags import OUTPUT, TRAINING, WHAT, option

if TYPE_CHECKING:
    from dsabench.plan import Request
    from dsabench.progress import ProgressDisplay

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line: one clear line and the exit code for whatever goes wrong."""
    try:
        app(prog_name="dsabench")
    except DsabenchError as error:
        end(error, error.exit_code)
    except KeyboardInterrupt:
        end(Interrupted("interrupted", 130), 130)
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; nothing is left to say, to it or in a last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def end(error: BaseException, code: int) -> None:
    """Print an error on stderr and leave."""
    if flags.DEBUG["on"]:
        traceback.print_exception(error)
    print(f"dsabench: {error}", file=sys.stderr)
    sys.exit(code)


def show_version(value: bool) -> None:
    """Print the version and leave."""
    if value:
        typer.echo(f"dsabench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """How crowded are self-supervised features, and what removes the crowding?

    Example: dsabench compare simclr simclr+dsa
    """


@app.command()
def pretrain(
    method: Annotated[
        str, option(WHAT, "METHOD or METHOD+REGULARIZER, options in brackets.", env="DSABENCH_METHOD")
    ] = "simclr",
    dataset: flags.Dataset = "digits",
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    train_images: flags.TrainImages = None,
    image_size: flags.ImageSize = None,
    backbone: flags.Backbone = None,
    epochs: flags.Epochs = None,
    batch_size: flags.BatchSize = None,
    seed: Annotated[int, option(TRAINING, "Names every random draw.", env="DSABENCH_SEED", min=0)] = 0,
    settings: flags.Settings = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = 1,
    deterministic: flags.Deterministic = False,
    offline: flags.Offline = False,
    config: flags.Config = None,
    runs: flags.Runs = Path("runs"),
    overwrite: flags.Overwrite = "never",
    dry_run: flags.DryRun = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    debug: flags.Debug = False,
) -> None:
    """Train one run, or go on with it: dsabench pretrain --method simclr+dsa --seed 3

    A finished run is left as it is, an interrupted one goes on from its last checkpoint.
    """
    always = overwriting(overwrite)
    limit_threads(threads)
    from dsabench.bench import train
    from dsabench.plan import Request, plan
    from dsabench.progress import Update
    from dsabench.signals import Stop

    request = Request(
        dataset, data_dir, data_name, train_images, image_size, backbone, epochs, batch_size, device, precision,
        threads, deterministic, offline, tuple(settings or ()),
    )  # fmt: skip
    stop = Stop().listen()
    (planned,) = plan(request, [method], [seed])
    if dry_run:
        print_plan([planned], runs, request, as_json)
        return
    if verbose:
        print_configs([planned])
    with progress(1, quiet) as display:
        run, reused = train(planned, runs, overwrite=always, offline=offline, stop=stop, report=display)
        display(Update(planned.label, "reused" if reused else "finished", 1, 1))
    state = run.state
    summary = {
        "run_id": planned.run_id,
        "run_dir": str(run.folder),
        "checkpoint": str(run.checkpoint),
        "weights_sha256": state["weights_sha256"],
        "status": state["status"],
        "epochs": planned.epochs,
        "wall_s": state["wall_s"],
        "images_per_s": state["images_per_s"],
    }
    if as_json:
        print(json.dumps(summary))
        return
    word = "already finished" if reused else "finished"
    print(f"{planned.label} {word}: {run.folder}")
    print(f"evaluate it with: dsabench eval {planned.run_id}" + ("" if runs == Path("runs") else f" --runs {runs}"))


@app.command("eval")
def evaluate(
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs by id or folder; the newest finished one if left out.")
    ] = None,
    probe: flags.Probes = None,
    split: Annotated[str, option(WHAT, "test or val.")] = "test",
    layer: Annotated[
        list[str] | None, option(WHAT, "backbone, projector or pixels; repeatable.", show_default="backbone")
    ] = None,
    data_dir: flags.DataDir = None,
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    output: Annotated[Path | None, option(OUTPUT, "Write the rows to FILE.csv.")] = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Probe frozen features of finished runs: dsabench eval --probe knn --probe linear"""
    from dsabench.runs import Run, find_run, newest_finished, say

    found: list[Run] = [find_run(runs, text) for text in run or []]
    if not found:
        found = [newest_finished(runs)]
        say(f"evaluating the newest finished run: {found[0].config.label}, {found[0].folder}")
    limit_threads(found[0].config.threads)
    from dsabench.bench import evaluate as evaluate_run
    from dsabench.report import print_values
    from dsabench.results import check_unique, write_csv
    from dsabench.signals import Stop

    what = evaluation(probe, layer, split)
    stop = Stop().listen()
    rows = [row for one in found for row in evaluate_run(one, what, data_dir=data_dir, offline=offline, stop=stop)]
    check_unique(rows)
    if output:
        write_csv(rows, output)
        say(f"wrote {output}")
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print_values(console(), rows)


@app.command()
def compare(
    specs: Annotated[list[str], typer.Argument(help="METHOD or METHOD+REGULARIZER; the first is the baseline.")],
    seeds: Annotated[str, option(TRAINING, "Paired seeds: a list or a range.", env="DSABENCH_SEEDS")] = "0-5",
    dataset: flags.Dataset = "digits",
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    train_images: flags.TrainImages = None,
    image_size: flags.ImageSize = None,
    backbone: flags.Backbone = None,
    epochs: flags.Epochs = None,
    batch_size: flags.BatchSize = None,
    settings: flags.Settings = None,
    probe: flags.Probes = None,
    primary: Annotated[str, option(WHAT, "The one metric that carries the verdict.")] = "cdnv",
    split: Annotated[str, option(WHAT, "test or val.")] = "test",
    layer: Annotated[
        list[str] | None, option(WHAT, "backbone, projector or pixels; repeatable.", show_default="backbone")
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = 1,
    jobs: Annotated[
        int | None,
        option(flags.MACHINE, "Runs side by side; changes no number.", show_default="cores / threads", min=1),
    ] = None,
    deterministic: flags.Deterministic = False,
    offline: flags.Offline = False,
    config: flags.Config = None,
    runs: flags.Runs = Path("runs"),
    output: Annotated[
        str | None,
        option(
            flags.FILES,
            "NAME.csv and NAME-summary.csv are written.",
            metavar="NAME",
            show_default="results/SPEC-vs-SPEC",
        ),
    ] = None,
    overwrite: flags.Overwrite = "never",
    dry_run: flags.DryRun = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    debug: flags.Debug = False,
) -> None:
    """Train what is missing, evaluate, and compare: dsabench compare simclr simclr+dsa"""
    always = overwriting(overwrite)
    if len(specs) < 2:
        raise UsageError(
            "compare needs at least two specs, the baseline first, as in: dsabench compare simclr simclr+dsa"
        )
    limit_threads(threads)
    from dsabench.bench import validate
    from dsabench.compare import compare_rows, cost_ratios, mcnemar_by_seed, parse_primary, with_primary
    from dsabench.config import parse_seeds
    from dsabench.jobs import Job, default_jobs, run_all
    from dsabench.plan import Request, plan
    from dsabench.report import finding, per_image, print_comparisons, print_overview, write_summary
    from dsabench.results import check_unique, write_csv
    from dsabench.runs import say
    from dsabench.signals import Stop
    from dsabench.storage import slug

    request = Request(
        dataset, data_dir, data_name, train_images, image_size, backbone, epochs, batch_size, device, precision,
        threads, deterministic, offline, tuple(settings or ()),
    )  # fmt: skip
    stop = Stop().listen()
    chosen = parse_primary(primary)
    what = with_primary(evaluation(probe, layer, split), chosen)
    planned = plan(request, specs, parse_seeds(seeds))
    arms = list(dict.fromkeys(str(one.spec) for one in planned))
    if dry_run:
        print_plan(planned, runs, request, as_json)
        return
    for one in planned[: len(arms)]:
        validate(one, runs, offline=offline)
    if verbose:
        print_configs(planned)
    work = [Job(one, what, runs, always, offline) for one in planned]
    with progress(len(work), quiet) as display:
        rows = run_all(work, jobs or default_jobs(threads, planned[0].device), stop, display)
    check_unique(rows)
    name = output or str(Path("results") / slug(f"{planned[0].title}-{'-vs-'.join(arms)}"))
    table, summary = Path(f"{name}.csv"), Path(f"{name}-summary.csv")
    write_csv(rows, table)
    comparisons = compare_rows(rows, arms, chosen, what.layers[0])
    write_summary(comparisons, summary, extra={"dataset": planned[0].title, "split": split})
    sentence = finding(comparisons, cost_ratio=cost_ratios(rows, comparisons))
    if as_json:
        print(json.dumps({"finding": sentence, "rows": str(table), "summary": str(summary)}))
    else:
        out = console()
        print_overview(out, rows, layer=what.layers[0])
        if len(arms) == 2:
            # Of more arms the sentences below say what carries a verdict; the summary has the rest.
            print_comparisons(out, comparisons)
        images = per_image(mcnemar_by_seed(planned, comparisons, what, runs, offline=offline))
        if images:
            out.print(images + "\n")
        out.print(sentence)
    say(f"wrote {table} and {summary}")
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        say(f"{len(failed)} of {len(work)} runs failed; their run.json says why")
        raise typer.Exit(1)


@app.command("list")
def list_entries(
    kind: Annotated[str, typer.Argument(help="methods, datasets, backbones, probes, metrics, regularizers or runs.")],
    everything: Annotated[bool, option(OUTPUT, "With backbones: every model of timm.", "--all")] = False,
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """List what there is: dsabench list methods"""
    entries = listing(kind, everything, runs)
    if as_json:
        print(json.dumps(entries))
        return
    from dsabench.report import print_listing

    print_listing(console(), kind, entries)


def listing(kind: str, everything: bool, runs: Path) -> list[dict[str, str]]:
    """Names and summaries of a kind."""
    from dsabench.backbones import BACKBONES, timm_names
    from dsabench.data import DATASETS
    from dsabench.methods import METHODS
    from dsabench.metrics import METRICS
    from dsabench.probes import PROBES
    from dsabench.regularizers import REGULARIZERS

    if kind == "runs":
        from dsabench.runs import all_runs

        return [
            {
                "name": str(run.state["run_id"]),
                "summary": f"{run.config.label}, {run.config.title}, {run.config.backbone}, "
                f"{run.config.epochs} epochs: {run.state['status']}",
            }
            for run in all_runs(runs)
        ]
    registries = {
        "methods": METHODS,
        "datasets": DATASETS,
        "backbones": BACKBONES,
        "probes": PROBES,
        "metrics": METRICS,
        "regularizers": REGULARIZERS,
    }
    if kind not in registries:
        raise unknown("kind", kind, [*registries, "runs"])
    entries = [{"name": name, "summary": entry.summary} for name, entry in registries[kind].items()]
    if kind == "backbones" and everything:
        entries += [{"name": name, "summary": "timm"} for name in timm_names() if name not in BACKBONES]
    return entries


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of it, or its folder.")],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Show a run, its configuration and where it came from: dsabench show 3f2a"""
    from dsabench.runs import find_run
    from dsabench.storage import to_toml

    found = find_run(runs, run)
    content: dict[str, Any] = {"run_dir": str(found.folder), **found.state}
    if as_json:
        print(json.dumps(content))
        return
    saved = content.pop("checkpoints")
    content["checkpoints"] = [entry["file"] for entry in saved]
    print(to_toml(content), end="")


def console() -> Any:
    """The console for data, on stdout."""
    from dsabench.progress import make_console

    return make_console(stderr=False)


def progress(total: int, quiet: bool) -> ProgressDisplay:
    """The display of progress, on stderr."""
    from dsabench.progress import ProgressDisplay, make_console

    return ProgressDisplay(make_console(stderr=True), total, quiet=quiet)


def evaluation(probes: Sequence[str] | None, layers: Sequence[str] | None, split: str) -> Any:
    """What to measure, checked."""
    from dsabench.bench import Evaluation

    given = {"probes": tuple(dict.fromkeys(probes or ())), "layers": tuple(dict.fromkeys(layers or ()))}
    what = Evaluation(split=split, **{name: values for name, values in given.items() if values})
    what.check()
    return what


def overwriting(word: str) -> bool:
    """Whether finished runs are trained again."""
    if word not in ("never", "always"):
        raise unknown("value of --overwrite", word, ("never", "always"))
    return word == "always"


def limit_threads(threads: int) -> None:
    """Bound the threads of every numerical library, before the first of them is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = str(threads)


def print_configs(planned: Sequence[Any]) -> None:
    """The resolved configurations, on stderr."""
    from dsabench.runs import say
    from dsabench.storage import to_toml

    for one in planned:
        say(f"# {one.label}, run {one.run_id}\n{to_toml(one.model_dump())}")


def print_plan(planned: Sequence[Any], runs: Path, request: Request, as_json: bool) -> None:
    """What would be trained, and what it would take."""
    from dsabench.estimate import estimates

    plans = estimates(planned, runs, offline=request.offline)
    if as_json:
        print(json.dumps(plans))
        return
    from dsabench.report import print_listing

    print_listing(console(), "plans", [{key: str(value) for key, value in one.items()} for one in plans])


if __name__ == "__main__":
    main()
