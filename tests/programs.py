"""A program in an interpreter of its own, where the command line itself is not what is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.process import Done, environment


def python(folder: Path, code: str, *args: str, flags: tuple[str, ...] = (), **env: str) -> Done:
    """The code, run to its end in a folder; an environment's variable that is "" is not set."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code, *args],
        cwd=folder,
        env={name: value for name, value in environment(folder, **env).items() if value},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
