"""What is done while a lock can't be had.

Whoever holds a quota file's works for microseconds, so it is asked for again soon. A holder that
was stopped (SIGSTOP) or hangs on its file system keeps it: that is said, and once it has lasted too
long no start is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SAID_AFTER_S = 5.0
_FIRST_S = 0.001
_MOST_S = 0.05
_ANEW_S = 1.0  # nobody asked for so long: what was before says nothing


class Shut(ConnectionAbortedError):
    """No start is given any more; the text says why."""


class Contention:
    """How long a lock has been out of reach. `gave_up` is told when that was `most_s`."""

    def __init__(
        self,
        holder: str = "another process holds the quota file",
        *,
        said_after_s: float = SAID_AFTER_S,
        most_s: float = math.inf,
        say: Callable[[str], None] = lambda _: None,
        gave_up: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._holder = holder
        self._said_after_s = said_after_s
        self._most_s = most_s
        self._say = say
        self._gave_up = gave_up
        self._asked_at = -math.inf
        self._since = 0.0
        self._next_s = _FIRST_S
        self._said = False

    def over(self) -> None:
        """The lock was had."""
        self._asked_at = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until the next try.

        Raises:
            Shut: it lasted too long.
        """
        if now - self._asked_at > _ANEW_S:
            self._since, self._next_s, self._said = now, _FIRST_S, False
        self._asked_at = now
        held_s = now - self._since
        if held_s >= self._most_s:
            text = f"{self._holder}, for {held_s:.0f} s now: giving up; run again"
            self._gave_up(text)
            raise Shut(text)
        if held_s >= self._said_after_s and not self._said:
            self._said = True
            self._say(
                f"{self._holder}: nothing is started until it is done; if it was stopped, let it "
                "go on (fg, kill -CONT) or end it"
            )
        wait, self._next_s = self._next_s, min(_MOST_S, self._next_s * 2)
        return wait
