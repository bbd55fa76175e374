"""From lines to records: how far a ledger is believed, and when its end is torn or damaged.

A process that dies while it writes leaves a *torn* end: a line that is half there, or, because a
file system may bring the pages of a file to the disk in any order, a hole with whole lines behind
it. Nobody was ever told that these records are durable, so nothing was done on their word. They are
cut, and the run goes on. A *damaged* ledger lacks a record that somebody was told to be durable, an
intent perhaps whose call has left. To go on without it would make a snapshot twice, so it is
refused, and a person puts a good copy in its place.

Both look alike at the place itself: a line that can't be read. What tells them apart is `synced`.
Each record carries the highest number that was known durable when it was written, so records
testify for those before them. For example, six records in three commits, which end with 2, 4 and 6:

    seq     1  2  3  4  5  6
    synced  0  0  2  2  4  4

- Line 6 can't be read: the highest testimony before it is 4, and nothing behind it says more. It
  is torn: 5 stays, 6 is cut. The same with 5 and 6, or with 5 alone though 6 is whole behind it.
- Line 3 can't be read: the lines behind it are searched, and 5 and 6 say that 4 was durable, so 3
  was. It is damaged at the byte where 3 begins.
- Line 3 can't be read, and neither can 5 and 6: what is left of line 4 says 2. It is torn, and
  rightly: if no record says that 3 was durable, then no process lived to be told so and to write
  what came of it. What a process was told and died with is covered by the last rule:

A record that was durable and is the last of all has no witness yet. Its loss looks torn, which is
why a ledger that was cut has a gap (`ledger.gap`): its silence about a row proves nothing, and each
row that isn't done is asked about before it is sent.

A number that is not the next, or a `synced` that falls or runs ahead of its record, was written by
nobody: there belief ends as at a line that can't be read. What is believed is always a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batchsnap.errors import LedgerDamaged, LedgerForeign
from batchsnap.ledger.record import VERSION, Record, decode, decoded
from batchsnap.lifecycle import Event


class Scan:
    """Records of a ledger, line by line, up to the first damage.

    After the iteration: `end` is the byte offset behind the last good record, `last_seq` its
    number, `synced` the highest seq that any record declared durable, `damaged` whether anything
    lies behind `end`.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.end = 0
        self.last_seq = -1
        self.synced = 0
        self.damaged = False

    def __iter__(self) -> Iterator[Record]:
        """Yield the good records, the `run` record first.

        Raises:
            LedgerForeign: the first is no `run` record of a version we can read.
            LedgerDamaged: a record that was known durable is damaged or missing.
        """
        first = next(self._lines, b"")
        yield _born(first)
        end, expected, synced = len(first), 1, 0
        lines = decoded(self._lines)
        for line, record in lines:
            if record is None or record.get("seq") != expected:
                break
            declared = record.get("synced")
            if declared != synced:
                if not isinstance(declared, int) or not synced < declared < expected:
                    break  # nobody wrote this: `synced` grows, and lies behind
                synced = declared
            expected += 1
            end += len(line)
            yield record
        else:
            self.end, self.last_seq, self.synced = end, expected - 1, synced
            return
        self.end, self.last_seq, self.synced = end, expected - 1, synced
        self.damaged = True
        if _highest_synced(lines) >= expected:
            raise LedgerDamaged(
                f"damaged at byte {end}: record {expected} was durable and can't be read. Put a "
                "good copy of the file in its place; do not edit or delete it"
            )


def _highest_synced(lines: Iterable[tuple[bytes, Record | None]]) -> int:
    """The highest seq that lines declare durable."""
    declared = (record.get("synced") for _, record in lines if record is not None)
    return max((number for number in declared if isinstance(number, int)), default=0)


def _born(line: bytes) -> Record:
    """The `run` record, from a ledger's first line."""
    header = decode(line)
    if header is None or "seq" in header:  # one with a number stood behind it
        if b'"event":"run"' in line or b'"crc":' in line:
            raise LedgerDamaged(
                "damaged at byte 0: the `run` record can't be read. Put a good copy of the file in "
                "its place; do not edit or delete it"
            )
        if not line:
            raise LedgerDamaged(
                "the file is empty, and a ledger is born whole: another program emptied it. Put a "
                "good copy in its place"
            )
        raise LedgerForeign("the file is no batchsnap ledger: its first line is no `run` record")
    if header.get("event") != Event.RUN:
        raise LedgerForeign("the file is no batchsnap ledger: its first line is no `run` record")
    if header.get("v") != VERSION:
        raise LedgerForeign(
            f"the ledger has version {header.get('v')}, this batchsnap reads {VERSION}: "
            "use the batchsnap that wrote it"
        )
    return header
