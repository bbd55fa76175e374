"""The memory of one quota: its last starts and, for strict gates, its slots, in one flat buffer.

Layout, native byte order, every field 8 bytes: magic, start count u64, grid point f64 of the last
start, the highest rate f64 among those at work and when f64 it last made a start, the margin f64
learned so far and when f64, 8 bytes spare; a ring of CAPACITY start times f64; CAPACITY slots f64,
each the moment at which it is free again. All times are monotonic seconds. A start is written
before the count that tells of it, so a process that dies between the two has started nothing.
"""

from __future__ import annotations

import mmap
import struct

from batchsnap.pacing import law
from batchsnap.settings import STRICT_HOLD_S

CAPACITY = 16_384
NEVER = float("-inf")

FORMAT = 3
"""Another layout has another number: processes that differ in it can't share a quota's file."""

_MAGIC = b"bsnapq%d\n" % FORMAT
_PEAK_S = 2.0  # so long after its last start a process counts as at work
_HEAD = struct.Struct("=8sQddddd8x")
_TIME = struct.Struct("=d")
SIZE = _HEAD.size + 2 * CAPACITY * _TIME.size


class Starts:
    """Starts in a buffer, which one process or many share. `read` first, under the lock if any."""

    def __init__(self, buffer: bytearray | mmap.mmap, capacity: int = CAPACITY) -> None:
        self._buffer = buffer
        self._capacity = capacity
        self._slots_at = _HEAD.size + capacity * _TIME.size
        self.count = 0
        self.previous_due = NEVER
        self.peak_rate_per_s = 0.0
        self.margin_s = 0.0
        self.margin_at = NEVER
        self._peak_at = NEVER

    @classmethod
    def alone(cls, capacity: int) -> Starts:
        """Starts that nobody shares; the last `capacity` of them are remembered."""
        starts = cls(bytearray(_HEAD.size + 2 * capacity * _TIME.size), capacity)
        starts.read(0.0)
        return starts

    def read(self, now: float) -> bool:
        """Learn what the buffer says; False where starts that it once held are lost."""
        magic, count, due, rate, peak_at, margin, margin_at = _HEAD.unpack_from(self._buffer, 0)
        newest = self._start(count - 1) if count else NEVER
        # Comparisons that a NaN fails; a start in the future is from another clock, but one that
        # has just left may be a little ahead of a reader who was held up.
        right = newest <= now + 1.0 and due <= now and 0 <= rate <= CAPACITY
        if magic == _MAGIC and right and margin >= 0 and margin_at <= now + 1.0:
            # Fewer than we saw: another process found damage first, and began anew.
            whole: bool = count >= self.count
            self.count, self.previous_due = count, due
            self.peak_rate_per_s, self._peak_at = rate, peak_at
            self.margin_s, self.margin_at = margin, margin_at
            return whole
        new = self.count == 0 and not any(self._buffer[: _HEAD.size])
        self.count, self.previous_due = 0, NEVER
        self.peak_rate_per_s, self._peak_at = 0.0, NEVER
        self.margin_s, self.margin_at = 0.0, NEVER
        self._write_head()
        return new

    def nth_last(self, n: int) -> float:
        """Time of the n-th start before the next one; -inf where there was none."""
        return self._start(self.count - n) if self.count >= n else NEVER

    def earliest(self, rate_per_s: float, margin_s: float, lag_s: float = 0.0) -> float:
        """The first moment at which another start is lawful."""
        return law.earliest(
            previous_due=self.previous_due,
            nth_last=self.nth_last(law.window_size(rate_per_s)),
            rate_per_s=rate_per_s,
            margin_s=margin_s,
            lag_s=lag_s,
        )

    def add(self, start: float, pace_per_s: float, *, rate_per_s: float, margin_s: float) -> None:
        """Record a start on the grid of `pace_per_s`, made by a process that keeps `rate_per_s`
        and has learned the margin."""
        at = _HEAD.size + self.count % self._capacity * _TIME.size
        _TIME.pack_into(self._buffer, at, start)
        self.count += 1
        self.previous_due = law.grid_point(
            previous_due=self.previous_due, now=start, rate_per_s=pace_per_s, margin_s=margin_s
        )
        self.margin_s, self.margin_at = margin_s, start
        at_work = start - self._peak_at <= _PEAK_S * max(1.0, 1.0 / rate_per_s)
        if rate_per_s >= self.peak_rate_per_s or not at_work:
            self.peak_rate_per_s, self._peak_at = rate_per_s, start
        self._write_head()

    def left(self, number: int, at: float) -> None:
        """The start of that number leaves at `at`, a little later: its second begins there. Needs
        no lock."""
        if self.count - self._capacity <= number < self.count:
            self._put(_HEAD.size + number % self._capacity * _TIME.size, _TIME.pack(at))

    def free_slot(self, n: int, now: float) -> tuple[int, float]:
        """One of `n` slots and when it is free: at most `now`, or else the first to become so."""
        free_at = struct.unpack_from(f"={n}d", self._buffer, self._slots_at)
        first, soonest = 0, float("inf")
        for slot, at in enumerate(free_at):
            if not now < at <= now + STRICT_HOLD_S:
                return slot, now
            if at < soonest:
                first, soonest = slot, at
        return first, soonest

    def hold(self, slot: int, until: float) -> None:
        """Keep others from the slot until then. Its holder needs no lock."""
        self._put(self._slots_at + slot * _TIME.size, _TIME.pack(until))

    def _put(self, at: int, field: bytes) -> None:
        self._buffer[at : at + len(field)] = field

    def _write_head(self) -> None:
        peak, margin = (self.peak_rate_per_s, self._peak_at), (self.margin_s, self.margin_at)
        _HEAD.pack_into(self._buffer, 0, _MAGIC, self.count, self.previous_due, *peak, *margin)

    def _start(self, index: int) -> float:
        at: float = _TIME.unpack_from(
            self._buffer, _HEAD.size + index % self._capacity * _TIME.size
        )[0]
        return at
