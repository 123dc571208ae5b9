"""The command line: words and flags. What a command computes is imported when it runs, so that help is instant."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from dsabench import __version__
from dsabench.cli.compare import compare
from dsabench.cli.evaluate import evaluate
from dsabench.cli.listing import list_entries, show
from dsabench.cli.mistakes import WrongWord, known_variables, misread, strangers
from dsabench.cli.pretrain import pretrain
from dsabench.cli.remove import remove
from dsabench.cli.theory import theory
from dsabench.cli.toy import toy
from dsabench.cli.tune import tune
from dsabench.errors import DsabenchError, Interrupted, StorageError, UsageError

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
app.command("list")(list_entries)
app.command("show")(show)
app.command("remove")(remove)
app.command("theory")(theory)
app.command("toy")(toy)


def main() -> None:
    """Run the command line: one clear line and the exit code for whatever goes wrong."""
    try:
        sys.exit(app(prog_name="dsabench", standalone_mode=False))
    except WrongWord as error:
        # Help, where no word was given, is printed already.
        end(UsageError(misread(error)), 2) if str(error) else sys.exit(2)
    except DsabenchError as error:
        end(error, error.exit_code)
    except KeyboardInterrupt:
        end(Interrupted("interrupted", 130), 130)
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; nothing is left to say, to it or in a last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        end(StorageError(f"cannot use{where}: {error.strerror or error}; check the path and its permissions"), 4)


def end(error: BaseException, code: int) -> None:
    """Print an error on stderr and leave."""
    print(f"dsabench: {error}", file=sys.stderr)
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
