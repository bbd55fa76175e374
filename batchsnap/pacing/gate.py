"""The gate of one quota: waits until the law allows a start, then records it at once.

A start is recorded under the quota file's lock in the same turn in which it is allowed. Who waits
stands in a queue, and one timer stands for all of them: what is lawful when it rings is given, in
the order they came. Nothing changes while one waits, so a waiter that is cancelled leaves nothing
behind.

When to ring is computed without the lock, from what the file said last: what others started since
can only make it later. Whether a start may be taken is decided under the lock, from the file.

What the cloud counts are calls, so a start is dated by when its call leaves: `leave` is asked
directly before the bytes are written, and `left` told directly after, for a host may stall between
the two. A token that is nearly a window old at the first, because the connection took so long or
the host stood still, is void. So when the N-th start after it may come, a call has told its time or
will never leave, and no window of the cap holds one too many. (What remains: a process frozen
between the two, while others fill the second in which it wakes.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from batchsnap.clock import Clock
from batchsnap.pacing import law
from batchsnap.pacing.quota_file import Contention, QuotaFile, Shut
from batchsnap.pacing.starts import NEVER, Starts
from batchsnap.settings import STRICT_HOLD_S

FIRST_WAIT_S = 1.0
"""A process starts nothing sooner than this after it opened the quota, or lost sight of it: what
a dead process may have sent without our knowing lies outside the window then."""
_LEAVE_WITHIN = 0.9  # of a window
_DATED_WITHIN_S = 0.0005  # a sixth of the least half margin, which the guard leaves free
_SLOT_POLL_S = 0.02
_RANKS = 4
_RANK_S = 0.0006  # all ranks together: less than the half margin that the guard leaves free


@dataclass(slots=True)
class _Out:
    """A start: when it was allowed, its number in the shared ones, the slot of a strict one, and
    when the records say that it left."""

    at: float
    number: int
    slot: int
    until: float
    dated: float


class LocalGate:
    """Paces one quota. Use inside one event loop.

    All gates on one quota file together keep the highest rate among those that are at work, and
    each keeps its own: a run at 5/s gets its starts beside one at 20/s, which then makes 15.

    `strict`: a start holds a slot until one second after its call was answered, so that no
    jitter can bring one too many into a second at the server. `first_wait_s`: nothing starts
    sooner than so long after the gate was opened.
    """

    def __init__(
        self,
        rate_per_s: float,
        *,
        clock: Clock,
        file: QuotaFile | None = None,
        strict: bool = False,
        first_wait_s: float = FIRST_WAIT_S,
        contention: Contention | None = None,
    ) -> None:
        self.rate_per_s = rate_per_s
        self.margin_s = law.MARGIN_MIN_S
        self._clock = clock
        self._file = file
        self._contention = contention or Contention()
        self._window = law.window_size(rate_per_s)
        self._own = Starts.alone(self._window)
        self._shared: Starts = self._own if file is None else file
        self._bucket = AsyncLimiter(self._window, law.window_s(rate_per_s))
        self._others = NEVER  # how many starts were not ours when we made our last one
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER  # no start is lawful before it; the file may know better
        self._ended = False
        self._not_before = clock.monotonic() + first_wait_s
        self._strict = strict
        self._out: dict[int, _Out] = {}  # by token
        self._throttled_at = NEVER
        self._remembering = file is not None  # the margin is to be read from the file
        if file is not None and file.lock():
            try:
                self._read(file, clock.monotonic())
            finally:
                file.unlock()

    async def start(self) -> int:
        """Wait for the next lawful start and take it; the number is its token.

        Raises:
            Shut: there will be none.
            OSError: the quota file is out of reach.
        """
        if self._ended:
            raise Shut("no more calls are started")
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if self._timer is None:
            self._serve()
        try:
            token: int = await waiter
        except asyncio.CancelledError:
            # Cancelled in the very turn in which it was given: that start is spent.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._forget(waiter.result(), self._clock.monotonic())
            raise
        # A belt beside the law, which is stricter: the bucket has room for each lawful start.
        await self._bucket.acquire()
        return token

    def end(self) -> None:
        """Start nothing any more; those who wait are told so."""
        self._ended = True
        self._refuse(Shut("no more calls are started"))

    def _serve(self) -> None:
        """Give the starts that are lawful now; come again when the next one is."""
        self._timer = None
        while self._waiting:
            if self._waiting[0].done():  # cancelled
                self._waiting.popleft()
                continue
            try:
                wait = self._take()
            except OSError as error:
                self._refuse(error)
                return
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._serve)
                return
            self._waiting.popleft().set_result(self._own.count - 1)

    def _refuse(self, error: OSError) -> None:
        """All who wait are told why there is no start for them."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def leave(self, token: int) -> bool:
        """The call of this start leaves now; False where it came too late and needs another."""
        now, out = self._clock.monotonic(), self._out.get(token)
        rate = max(self.rate_per_s, self._shared.peak_rate_per_s)
        if out is None or now - out.at > _LEAVE_WITHIN * law.window_s(rate):
            self._forget(token, now)
            return False
        self._date(token, out, now)
        return True

    def left(self, token: int) -> None:
        """The bytes of this start have just been written, perhaps a stall after `leave`."""
        now, out = self._clock.monotonic(), self._out.get(token)
        if out is not None:
            self._date(token, out, now)

    def _date(self, token: int, out: _Out, now: float) -> None:
        """A start leaves now, later than it was known to so far."""
        if now - out.dated < _DATED_WITHIN_S or self._closed():
            return
        out.dated = now
        self._own.left(token, now)
        if self._shared is not self._own:
            self._shared.left(out.number, now)
        if out.until > now:  # else another may have the slot by now
            out.until = now + STRICT_HOLD_S
            self._shared.hold(out.slot, out.until)

    def replied(self, token: int, *, throttled: bool) -> None:
        """The call of this start is over: what it teaches about the margin is learned."""
        now = self._clock.monotonic()
        if throttled:
            dense = now - self._throttled_at < law.DENSE_S
            self._throttled_at = now
            self.margin_s = law.widened(self.margin_s, dense=dense)
        else:
            self.margin_s = law.narrowed(self.margin_s)
        self._forget(token, now + law.WINDOW_S + law.MARGIN_MIN_S)

    def _forget(self, token: int, free_at: float) -> None:
        """A start is over; the slot of a strict one is free from then on, or at once another's
        where it was held too long."""
        out = self._out.pop(token, None)
        if out is not None and out.until > self._clock.monotonic() and not self._closed():
            self._shared.hold(out.slot, free_at)

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    def close(self) -> None:
        """Let go of the quota file."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()
        if self._file is not None:
            self._file.close()

    def _closed(self) -> bool:
        return self._file is not None and self._file.closed

    def _take(self) -> float:
        """Take the start now and return 0, or the seconds to wait before trying again.

        Raises:
            Shut: the quota file's lock was not to be had for too long.
        """
        now = self._clock.monotonic()
        wait = max(self._due, self._not_before) - now
        if wait > 0:
            return wait
        if self._file is None:
            return self._decide(now)
        if not self._file.lock():
            return self._contention.wait_s(now)
        try:
            self._contention.over()
            now = self._clock.monotonic()
            self._read(self._file, now)
            return self._decide(now)
        finally:
            self._file.unlock()

    def _read(self, file: QuotaFile, now: float) -> None:
        """See the others' starts; under the lock."""
        if not file.read(now):
            self._not_before = max(self._not_before, now + FIRST_WAIT_S)
        if self._remembering:
            self._remembering = False
            self.margin_s = law.remembered(file.margin_s, now - file.margin_at)

    def _decide(self, now: float) -> float:
        """As `_take`, under the lock."""
        self._due = self._lawful()
        if self._due > now:
            return self._due - now
        if self._strict:
            return self._begin_strictly(now)
        self._begin(now)
        return 0.0

    def _lawful(self) -> float:
        """When the next start may come. Under the lock, for it looks into the file."""
        own, shared = self._own, self._shared
        lawful = max(self._not_before, own.earliest(self.rate_per_s, self.margin_s))
        if shared is own:
            return lawful
        rate = max(self.rate_per_s, shared.peak_rate_per_s)
        return max(lawful, shared.earliest(rate, self.margin_s, self._lag_s(rate)))

    def _begin_strictly(self, now: float) -> float:
        """Begin if one of the slots is free; else how long to wait for one."""
        slot, free_at = self._shared.free_slot(self._window, now)
        if free_at > now:
            return self._until_free(free_at - now)
        until = now + STRICT_HOLD_S
        self._shared.hold(slot, until)
        self._begin(now, slot, until)
        return 0.0

    def _begin(self, now: float, slot: int = -1, until: float = 0.0) -> None:
        """Record a lawful start."""
        own, shared, margin_s = self._own, self._shared, self.margin_s
        self._out[own.count] = _Out(now, shared.count, slot, until, now)
        if shared is not own:
            self._others = shared.count - own.count
            pace = max(self.rate_per_s, shared.peak_rate_per_s)
            shared.add(now, pace, rate_per_s=self.rate_per_s, margin_s=margin_s)
        own.add(now, self.rate_per_s, rate_per_s=self.rate_per_s, margin_s=margin_s)
        self._due = self._lawful()

    def _lag_s(self, rate_per_s: float) -> float:
        """Processes take turns: the fewer starts of others came since our last, the later we come.

        All wait for the same moment, and without this one of them may win every time. A lag that
        is a small part of a step costs nothing, because a late start keeps its grid point.
        """
        since = self._shared.count - self._own.count - self._others
        turns = min(max(since, 0), _RANKS)
        step = law.step_s(rate_per_s, self.margin_s)
        return (_RANKS - turns) * min(_RANK_S, step / (4 * _RANKS))

    def _until_free(self, wait: float) -> float:
        """A wait of more than a second is for a call still out; its answer may come any time."""
        return wait if wait <= law.WINDOW_S + law.MARGIN_MIN_S else _SLOT_POLL_S
