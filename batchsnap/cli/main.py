"""The command group and the one place where an error becomes an exit code.

Commands are imported when they are called, so `--help` and completion load nothing heavy.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

import click

from batchsnap.cli.streams import outlive_readers
from batchsnap.errors import BatchsnapError, Exit, ManifestError, first_of_ours
from batchsnap.version import __version__

COMMANDS = {
    "demo": "See it work: a sample fleet against the built-in cloud",
    "discover": "Find disks by tag, instance or zone and write a manifest",
    "plan": "Validate a manifest and say what a run would do",
    "run": "Make one snapshot for each row; go on where the ledger stands",
    "status": "Counts and reasons of a run, also while it is going on",
    "report": "What happened, as text, JSON, CSV or one HTML page",
    "settle": "Resolve the doubts of a ledger without sending anything",
    "wait": "Wait until every accepted snapshot is ready",
    "rollback": "Delete exactly the snapshots that a ledger's run made",
    "simulate": "The local cloud on a port",
}


class Commands(click.Group):
    """Knows its commands by name and loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"batchsnap.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing a command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        'Tab completion: eval "$(_BATCHSNAP_COMPLETE=bash_source batchsnap)" in ~/.bashrc, '
        "zsh_source in ~/.zshrc, fish_source for fish."
    ),
)
@click.version_option(__version__, prog_name="batchsnap")
def group() -> None:
    """One snapshot for every disk of a fleet: as fast as the cloud allows, never faster, and
    exactly one per row, whatever dies on the way.

    Try it: batchsnap demo
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code. Nothing a user can cause ends in a traceback."""
    outlive_readers()
    ease_collector()
    try:
        code = group.main(args=argv, prog_name="batchsnap", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        click.echo("\nstopped before anything was sent", err=True)
        code = Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except (BatchsnapError, OSError) as error:
        code = _tell(error)
    except BaseExceptionGroup as several:
        first = first_of_ours(several)
        if not isinstance(first, BatchsnapError | OSError):
            raise
        code = _tell(first)
    sys.exit(int(code or 0))


def ease_collector() -> None:
    """Look for cycles less often: calls are many small objects that die young, and a pause of the
    collector comes between a token and its send."""
    gc.set_threshold(20_000, 20, 20)


def _tell(error: BatchsnapError | OSError) -> Exit:
    if isinstance(error, OSError):
        click.echo(f"batchsnap: {error}: mend the cause, then run the same command again", err=True)
        return Exit.UNFINISHED
    if isinstance(error, ManifestError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
        if (more := error.total - len(error.problems)) > 0:
            click.echo(f"… and {more} more", err=True)
    click.echo(f"batchsnap: {error}", err=True)
    return error.exit_code
