"""The command group and the one place where an error becomes an exit code.

Commands are imported when they are called, so `--help` and completion load nothing heavy.
"""

from __future__ import annotations

import gc
import importlib
import os
import platform
import sys
import traceback
from collections.abc import Iterator, Sequence

import click

from batchsnap.cli.options import origin
from batchsnap.cli.output import outlive_readers, say
from batchsnap.errors import BatchsnapError, Exit, ManifestError, UsageError, leaves, worst
from batchsnap.version import __version__

COMMANDS = {
    "demo": "See it work: a sample fleet against the built-in cloud",
    "discover": "Find disks by tag, instance or zone and write a manifest",
    "plan": "Validate a manifest and say what a run would do",
    "run": "Make one snapshot for each row; go on where the ledger stands",
    "copy": "Copy the ready snapshots of a ledger to another region",
    "status": "Counts and reasons of a run, also while it is going on",
    "report": "What happened, as text, JSON, CSV or one HTML page",
    "settle": "Resolve the doubts of a ledger without sending anything",
    "wait": "Wait until every accepted snapshot is ready",
    "rollback": "Delete exactly the snapshots that a ledger's run made",
    "work": "Help with a run whose ledger is in PostgreSQL",
    "stop": "Stop such a run on all machines",
    "ledger": "Ledgers in PostgreSQL: init, list, export",
    "simulate": "The local cloud on a port",
    "schema": "JSON Schema of ledger lines, --json and --log-format json",
    "completion": "Tab completion for bash, zsh or fish",
}
_OTHER_WORDS = {
    "apply": "run", "backup": "run", "check": "plan", "create": "run", "delete": "rollback",
    "dry-run": "plan", "find": "discover", "list": "discover", "resume": "run", "show": "status",
    "snapshot": "run", "start": "run", "undo": "rollback", "validate": "plan", "watch": "status",
}  # fmt: skip
"""What people type for a command, as far as no likeness of letters tells."""


class Commands(click.Group):
    """Knows its commands by name and loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "help":
            return _help
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"batchsnap.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name):
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No command {name!r}. {_suggestion(name)}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing a command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    if "." in name or "/" in name:
        which = "status" if name.endswith(".jsonl") else "run"
        return f"To go by a file name the command first: batchsnap {which} {name}"
    near = get_close_matches(name.lower(), COMMANDS, 1, 0.6)
    if meant := _OTHER_WORDS.get(name) or "".join(near):
        return f"Did you mean {meant!r}?"
    return f"There are {', '.join(COMMANDS)}."


def every_option() -> Iterator[click.Option]:
    """The options of all commands; loads them all."""
    for name in COMMANDS:
        command = importlib.import_module(f"batchsnap.cli.commands.{name}").command
        for each in [command, *getattr(command, "commands", {}).values()]:
            yield from (param for param in each.params if isinstance(param, click.Option))


@click.command("help", hidden=True)
@click.argument("words", nargs=-1)
@click.pass_context
def _help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """What `--help` says."""
    group.main(args=[*words[:1], "--help"], prog_name="batchsnap", standalone_mode=False)


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Tab completion: batchsnap completion bash, zsh or fish, and where its lines go.",
)
@click.version_option(__version__, "-V", "--version", prog_name="batchsnap")
def group() -> None:
    """One snapshot for every disk of a fleet: as fast as the cloud allows, never faster, and
    exactly one per row, whatever dies on the way.

    Try it: batchsnap demo
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code. Nothing a user can cause ends in a traceback."""
    outlive_readers()
    if os.name != "posix":
        say("batchsnap: runs on Linux and macOS only; on Windows use it in WSL")
        sys.exit(int(Exit.USAGE))
    ease_collector()
    try:
        code = group.main(args=argv, prog_name="batchsnap", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort as abort:
        # Ctrl-C at a question comes before anything is sent; at work, anything may have been.
        asked = not isinstance(abort.__cause__, KeyboardInterrupt)
        say(
            "\nstopped before anything was sent" if asked else "stopped: run the same command again"
        )
        code = Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except Exception as error:  # what is none of the above is ours to mend
        code = tell(error)
    sys.exit(int(code or 0))


def ease_collector() -> None:
    """Look for cycles when so many objects are there that were not before, and not by the clock of
    calls: a row leaves no cycle behind, and the collector's pause, 40 ms among the live rows of a
    hundred quotas, comes between a token and its send."""
    gc.set_threshold(200_000, 20, 20)


def tell(error: Exception) -> Exit:
    """Say what ended a command, once; the exit code it ends in. Where several things went wrong at
    once, the gravest is said."""
    codes = [(_exit_for(leaf), leaf) for leaf in leaves(error)]
    code = worst([code for code, _ in codes])
    gravest = next(leaf for its_code, leaf in codes if its_code is code)
    if code is Exit.DEFECT:
        _tell_defect(gravest)
        return code
    if isinstance(gravest, ManifestError):
        for problem in gravest.problems:
            say(str(problem))
        if (more := gravest.total - len(gravest.problems)) > 0:
            say(f"… and {more} more")
    remedy = ": mend the cause, then run the same command again" * isinstance(gravest, OSError)
    say(f"batchsnap: {gravest}{remedy}{origin(str(gravest)) * isinstance(gravest, UsageError)}")
    return code


def _exit_for(error: BaseException) -> Exit:
    if isinstance(error, BatchsnapError):
        return error.exit_code
    return Exit.UNFINISHED if isinstance(error, OSError) else Exit.DEFECT


def _tell_defect(error: BaseException) -> None:
    """Where it came from, by file and line. Its own text is left out: it may hold anything that the
    program held, keys too."""
    say(f"batchsnap {__version__}, Python {platform.python_version()}, {sys.platform}:")
    chain = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(earlier)
    for each in reversed(chain):
        for frame in traceback.extract_tb(each.__traceback__):
            say(f"  {frame.filename}:{frame.lineno} in {frame.name}")
        say(f"  {type(each).__module__}.{type(each).__qualname__}")
    say(
        "batchsnap: a defect of ours, and nothing is lost: run the same command again. Report it "
        "with the lines above; they hold no secrets"
    )
