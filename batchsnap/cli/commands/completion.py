"""`batchsnap completion`: the lines that make a shell complete commands, options and values."""

from __future__ import annotations

import click

from batchsnap.cli.options import command as new_command
from batchsnap.cli.output import note, show
from batchsnap.errors import UsageError

_PLACES = {
    "bash": "batchsnap completion bash > ~/.local/share/bash-completion/completions/batchsnap",
    "zsh": "batchsnap completion zsh > ~/.zfunc/_batchsnap, with fpath+=~/.zfunc before compinit",
    "fish": "batchsnap completion fish > ~/.config/fish/completions/batchsnap.fish",
}


@new_command("completion")
@click.argument("shell", type=click.Choice(list(_PLACES)))
def command(shell: str) -> int:
    """Print the completion script of SHELL. At once: eval "$(batchsnap completion bash)"."""
    from click.shell_completion import get_completion_class

    from batchsnap.cli.main import group

    kind = get_completion_class(shell)
    assert kind is not None
    try:
        source = kind(group, {}, "batchsnap", "_BATCHSNAP_COMPLETE").source()
    except (OSError, RuntimeError) as error:  # it asks bash for its version
        raise UsageError(f"can't make the lines for {shell}: {error}") from None
    note(f"for every session: {_PLACES[shell]}")
    return show(source)
