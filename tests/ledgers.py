"""Ledgers made up for tests: every kind of row, as many as wanted, through the real codec."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import Any

from batchsnap.ledger.record import Record, encode, row_record, stamp
from batchsnap.model import PlannedRequest

BORN = 1_795_500_000.0
REGIONS = ("ap-guangzhou", "ap-tokyo", "eu-frankfurt")
SPACING_S = 0.0503  # between starts, so that no second holds more than 20
_IN_FLIGHT = 5  # rows of an unfinished ledger that wait for their reply
_CODES = {
    "REJECTED": "InvalidDisk.NotSupported",
    "THROTTLED": "RequestLimitExceeded",
    "BUSY": "ResourceBusy",
    "IN_DOUBT": "fault.reset",
}


def request(number: int, **values: Any) -> PlannedRequest:
    key = f"disk-{number:08x}"
    region = REGIONS[number % len(REGIONS)]
    plain = PlannedRequest(key, number, key, "", region, "", f"n-{key}", False, "", "", ())
    return plain._replace(**values)


def write_manifest(path: Path, rows: int) -> Path:
    """The manifest of the first `rows` requests."""
    lines = (f"{request(i).disk_id},{request(i).region}\n" for i in range(rows))
    path.write_text("DiskId,Region\n" + "".join(lines), encoding="utf8")
    return path


def header(path: Path, rows: int, manifest: Path | None = None) -> Record:
    """Line 1 of the ledger `path`; without `manifest`, of one that is gone."""
    digest = sha256(manifest.read_bytes()).hexdigest() if manifest else "0" * 64
    name = str(manifest or path.parent / "gone.csv")
    return {
        "v": 1,
        "event": "run",
        "run_id": "20261124-000000-abcd",
        "tool": "batchsnap/test",
        "manifest": {"path": name, "sha256": digest, "rows": rows},
        "endpoint": "https://cbs.intl.tencentcloudapi.com",
        "simulated": False,
        "settings": {"rate_per_s": 20.0},
        "at": stamp(BORN),
    }


def write_records(path: Path, records: Iterator[Record] | list[Record]) -> Path:
    """A ledger file of these records, the header first."""
    with path.open("wb") as file:
        for seq, record in enumerate(records):
            file.write(encode({"seq": seq, "synced": seq - 1, **record} if seq else record))
    return path


def write_ledger(
    path: Path,
    rows: int,
    *,
    message: str = "",
    name: str = "",
    finished: bool = True,
    halted: bool = False,
    manifest: Path | None = None,
) -> Path:
    """Every 90th row is rejected, every 50th was throttled first, every 70th lost its reply and
    was found, every 130th was absent and sent again (every 1300th twice made), every 170th gave
    up; a fourth of the others is ready. `halted`: the last region stops half way. Not `finished`:
    some rows wait for their reply, and as many were not sent."""
    play = _Play(rows, message, name, finished=finished, halted=halted)

    def all_of_it() -> Iterator[Record]:
        yield header(path, rows, manifest)
        yield from play.records()
        if finished:
            yield {"event": "finished", "at": stamp(play.end), "exit": 1}

    return write_records(path, all_of_it())


class _Play:
    """Starts on a grid, outcomes when they come: interleaved as a run writes them."""

    def __init__(self, rows: int, message: str, name: str, *, finished: bool, halted: bool) -> None:
        self.rows, self.message, self.name = rows, message, name
        self.end = BORN  # of the last record so far
        self._sent = rows if finished else max(0, rows - _IN_FLIGHT)
        self._waiting = 0 if finished else _IN_FLIGHT
        self._halt_at = rows // 2 // 3 * 3 + 2 if halted else rows
        self._dice = random.Random(rows)
        self._again: list[tuple[float, int, int]] = []  # (when, row, attempt)
        self._later: list[tuple[float, int, Record]] = []  # outcomes that are still to come
        self._count = 0

    def records(self) -> Iterator[Record]:
        at, fresh = BORN + 1, 0
        while fresh < self._sent or self._again:
            if self._again and (self._again[0][0] <= at or fresh >= self._sent):
                due, number, attempt = heappop(self._again)
                at = max(at, due)
            else:
                number, attempt, fresh = fresh, 1, fresh + 1
                if number > self._halt_at and number % len(REGIONS) == 2:
                    continue
            yield from self._until(at)
            yield self._note("intent", number, attempt, at, snapshot_name=self._name(number))
            if number == self._halt_at:
                code = "InsufficientSnapshotQuota"
                self._outcome("halted", number, attempt, at, code, "HALT", scope="region")
            elif number < self._sent - self._waiting:
                self._answer(number, attempt, at)
            at += SPACING_S
        yield from self._until(inf)

    def _answer(self, number: int, attempt: int, at: float) -> None:
        if number % 90 == 89:
            self._outcome("rejected", number, attempt, at, _CODES["REJECTED"], "REJECTED")
        elif number % 170 == 169:
            code = _CODES["BUSY"]
            if attempt == 4:
                self._outcome("gave_up", number, attempt, at, code, "BUSY")
            else:
                self._defer(number, attempt, at, "BUSY", 30.0 * attempt)
        elif number % 50 == 49 and attempt == 1 and number % 130 != 129:
            self._defer(number, attempt, at, "THROTTLED", 1.0)
        elif number % 70 == 69 or (number % 130 == 129 and attempt == 1):
            self._doubt(number, attempt, at, found=number % 70 == 69)
        else:
            self._made(number, attempt, at)

    def _made(self, number: int, attempt: int, at: float) -> None:
        snapshot = f"snap-{number:08x}"
        reply = {"snapshot_id": snapshot, "request_id": self._request_id(number, attempt)}
        self._outcome("accepted", number, attempt, at, "", "", **reply)
        if number % 4 == 0:
            self._put("ready", number, attempt, at + 40, snapshot_id=snapshot)
        if number % 130 == 129 and attempt > 1:
            if number % 1300 == 1299:
                ids = [snapshot, f"snap-9{number:07x}"]
                self._put("doubled", number, attempt, at + 300, snapshot_ids=ids)
            self._put("settled", number, attempt, at + 301, found=True, final=True, evidence="e")

    def _doubt(self, number: int, attempt: int, at: float, *, found: bool) -> None:
        self._outcome("in_doubt", number, attempt, at, _CODES["IN_DOUBT"], "IN_DOUBT")
        if found:
            made = {"snapshot_id": f"snap-{number:08x}"}
            self._put("settled", number, attempt, at + 15, found=True, evidence="e", **made)
            self._put("accepted", number, attempt, at + 15, **made)
        else:
            self._put("settled", number, attempt, at + 60, found=False, evidence="none")
            heappush(self._again, (at + 60.5, number, attempt + 1))

    def _defer(self, number: int, attempt: int, at: float, verdict: str, wait_s: float) -> None:
        until = {"not_before": stamp(at + wait_s)}
        self._outcome("deferred", number, attempt, at, _CODES[verdict], verdict, **until)
        heappush(self._again, (at + wait_s + 0.5, number, attempt + 1))

    def _outcome(
        self,
        event: str,
        number: int,
        attempt: int,
        at: float,
        code: str,
        verdict: str,
        **more: Any,
    ) -> None:
        took = self._dice.lognormvariate(4.78, 0.25)
        told = {"sent_at": stamp(at), "latency_ms": round(took, 1), "verdict": verdict}
        if code:
            told |= {"code": code, "message": self.message or f"the cloud says {code}"}
            told["request_id"] = self._request_id(number, attempt)
        self._put(event, number, attempt, at + took / 1000, **more, **told)

    def _put(self, event: str, number: int, attempt: int, at: float, **more: Any) -> None:
        self._count += 1
        heappush(self._later, (at, self._count, self._note(event, number, attempt, at, **more)))

    def _until(self, at: float) -> Iterator[Record]:
        while self._later and self._later[0][0] <= at:
            self.end, _, record = heappop(self._later)
            yield record

    def _note(self, event: str, number: int, attempt: int, at: float, **more: Any) -> Record:
        return row_record(event, request(number), attempt, stamp(at), **more)

    def _name(self, number: int) -> str:
        return self.name or request(number).name

    def _request_id(self, number: int, attempt: int) -> str:
        text = f"{number * 0x9E3779B97F4A7C15 + attempt & (1 << 128) - 1:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
