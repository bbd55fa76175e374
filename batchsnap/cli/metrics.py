"""`--metrics-port`: the run's records as Prometheus metrics (extra `metrics`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from batchsnap.errors import UsageError
from batchsnap.ledger.record import Record
from batchsnap.lifecycle import WORD, Event, State
from batchsnap.model import Verdict

if TYPE_CHECKING:
    from batchsnap.cluster.machine import Machine
    from batchsnap.job.run import Prepared

_BUCKETS_S = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_RECENT_S = 10.0


class Measured(NamedTuple):
    """What is measured: a run, or what a worker owns of one."""

    taps: list[Callable[[Record], None]]  # each is given every record that is written
    words: Callable[[], Mapping[str, int]]  # rows by the word for where they stand
    flying: Callable[[], int]  # calls that are out or about to leave
    quotas: Callable[[], int] | None = None  # that a worker owns


def measured_run(prepared: Prepared) -> Measured:
    """A run with its ledger in a file."""
    return Measured(
        prepared.taps,
        lambda: prepared.fold.words,
        lambda: prepared.fold.counts[State.SENT],
    )


def measured_machine(machine: Machine) -> Measured:
    """What this machine owns of runs that many work on."""
    return Measured(
        machine.taps,
        lambda: machine.words,
        lambda: machine.flying,
        lambda: machine.quotas,
    )


class Metrics:
    """Counters that follow the records, gauges that look at the fold when scraped."""

    def __init__(self, measured: Measured, client: Any) -> None:
        self.registry = client.CollectorRegistry()
        self._measured = measured
        self._starts: deque[float] = deque()
        self._accepted_at = time.monotonic()
        in_ours = {"registry": self.registry}
        self._requests = client.Counter(
            "batchsnap_requests", "CreateSnapshot calls by verdict", ["verdict"], **in_ours
        )
        self._made = client.Counter(
            "batchsnap_made", "Snapshots that this command made, or found", **in_ours
        )
        self._latency = client.Histogram(
            "batchsnap_latency_seconds", "First byte out to last in", buckets=_BUCKETS_S, **in_ours
        )
        rows = client.Gauge("batchsnap_rows", "Rows by state", ["state"], **in_ours)
        for word in dict.fromkeys(WORD.values()):
            rows.labels(word).set_function(lambda word=word: self._rows(word))
        if measured.quotas is not None:
            client.Gauge("batchsnap_quotas", "Quotas owned now", **in_ours).set_function(
                measured.quotas
            )
        for name, text, value in (
            ("in_flight", "Calls that are out or about to leave", measured.flying),
            ("starts_per_second", "Starts in the last ten seconds, a second", self._rate),
            ("last_accepted_seconds", "Since the last accepted snapshot", self._since_accepted),
        ):
            client.Gauge(f"batchsnap_{name}", text, **in_ours).set_function(value)

    def take(self, record: Record) -> None:
        """Follow one record."""
        if record["event"] == Event.ACCEPTED:
            self._accepted_at = time.monotonic()
            self._made.inc()
        if "latency_ms" not in record:
            return
        self._requests.labels(record.get("verdict", Verdict.ACCEPTED)).inc()
        self._latency.observe(record["latency_ms"] / 1000)
        self._starts.append(time.monotonic())

    def _rows(self, word: str) -> float:
        return float(self._measured.words()[word])

    def _rate(self) -> float:
        horizon = time.monotonic() - _RECENT_S
        while self._starts and self._starts[0] < horizon:
            self._starts.popleft()
        return len(self._starts) / _RECENT_S

    def _since_accepted(self) -> float:
        return time.monotonic() - self._accepted_at


@contextmanager
def serving(measured: Measured, port: int | None) -> Iterator[None]:
    """Serve /metrics on a port while the block runs; nothing without one.

    Raises:
        UsageError: the extra is not installed, or the port is taken.
    """
    if port is None:
        yield
        return
    try:
        import prometheus_client
    except ImportError:
        raise UsageError("--metrics-port needs: pip install 'batchsnap[metrics]'") from None
    metrics = Metrics(measured, prometheus_client)
    measured.taps.append(metrics.take)
    try:
        server, thread = prometheus_client.start_http_server(port, registry=metrics.registry)
    except OSError as error:
        raise UsageError(f"--metrics-port {port}: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
