"""The command line: words and flags. What a command computes is imported when it runs, so that help is instant."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from dsabench import __version__
from dsabench.cli.compare import compare
from dsabench.cli.doctor import doctor
from dsabench.cli.evaluate import evaluate
from dsabench.cli.export import export
from dsabench.cli.features import features
from dsabench.cli.listing import list_entries, show
from dsabench.cli.mistakes import WrongWord, known_variables, misread, strangers
from dsabench.cli.opening import open_report
from dsabench.cli.pretrain import pretrain
from dsabench.cli.remove import remove
from dsabench.cli.report import report
from dsabench.cli.theory import theory
from dsabench.cli.toy import toy
from dsabench.cli.tune import tune
from dsabench.errors import DsabenchError, Interrupted, RunFailed, StorageError, UsageError
from dsabench.signals import Stop

# How torch says that it got no memory, or that a size is beyond all memory.
NO_MEMORY = ("can't allocate memory", "out of memory", "overflow", "Overflow", "Invalid buffer size")
UNEXPECTED = "something that should not happen"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("pretrain")(pretrain)
app.command("eval")(evaluate)
app.command("compare")(compare)
app.command("tune")(tune)
app.command("report")(report)
app.command("list")(list_entries)
app.command("show")(show)
app.command("open")(open_report)
app.command("export")(export)
app.command("features")(features)
app.command("doctor")(doctor)
app.command("remove")(remove)
app.command("theory")(theory)
app.command("toy")(toy)


def main() -> None:
    """Run the command line: one clear line and the exit code for whatever goes wrong.

    A signal ends whatever is under way, until the command takes care of them itself.
    """
    try:
        Stop().listen()
        check_text()
        try:
            code = app(prog_name="dsabench", standalone_mode=False)
        finally:
            # A disk that is full may be noticed here first, and later there is nobody left to say so.
            sys.stdout.flush()
    except WrongWord as error:
        # Help, where no word was given, is printed already.
        end(UsageError(misread(error)) if str(error) else None, 2)
    except DsabenchError as error:
        end(error, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        end(Interrupted("interrupted", 130), 130)
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; nothing is left to say to it.
        end(None, 0)
    except SystemExit as error:
        # Rich and typer take that for a failure.
        if isinstance(error.__context__, BrokenPipeError):
            end(None, 0)
        raise
    except Exception as error:
        known = as_known(error)
        end(known, known.exit_code)
    sys.exit(code)


def check_text() -> None:
    """Raise UsageError for a word of the command line, or a variable of ours, that is no text in UTF-8."""
    ours = {f"the variable {name}": value for name, value in os.environ.items() if name.startswith("DSABENCH_")}
    for where, text in [*((f"the word {word!r}", word) for word in sys.argv[1:]), *ours.items()]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{where} is not UTF-8; give the file or folder a name that is") from error


def as_known(error: Exception) -> DsabenchError:
    """What ended a command as an error with an exit code of the list; a defect of ours is called one."""
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return StorageError(f"cannot use{where}: {error.strerror or error}; check the path, the disk and permissions")
    text = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, MemoryError) or any(word in text for word in NO_MEMORY):
        return RunFailed(
            f"there is not enough memory for this ({text}); try smaller widths, images or batches, or fewer --jobs"
        )
    return DsabenchError(
        f"{UNEXPECTED}: {type(error).__name__}: {text}; --debug shows where, and we would like to know"
    )


def end(error: BaseException | None, code: int) -> NoReturn:
    """Print an error on stderr and leave, whatever can still be written to."""
    with suppress(OSError, ValueError):
        if error is not None:
            print(f"dsabench: {error}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Python flushes it once more at its own end, and would change the exit code.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def show_version(value: bool) -> None:
    """Print the version and leave."""
    if value:
        typer.echo(f"dsabench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """How crowded are self-supervised features, and what removes the crowding?

    Example: dsabench compare simclr simclr+dsa
    """
    for warning in strangers(os.environ, known_variables(context)):
        typer.echo(warning, err=True)
