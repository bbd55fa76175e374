"""Both sinks over a session go by one rule of what counts as a failure."""

from __future__ import annotations

from typing import Any

from batchsnap.ledger.replay import Fold
from batchsnap.postgres.hold import Batch, Hold
from batchsnap.postgres.session import Session
from batchsnap.postgres.sink import QuotaSink, SessionSink
from batchsnap.postgres.whole import WholeSink
from tests.records import moved


class _Heard:
    def __init__(self) -> None:
        self.failed: list[bool] = []

    def append(self, hold: Hold, line: str, *, failed: bool = False) -> Batch:
        self.failed.append(failed)
        return Batch()


class _Sink(SessionSink):
    def __init__(self, fold: Fold, session: Any) -> None:
        super().__init__("x", fold)
        self._session = session

    def _place(self, record: Any) -> tuple[Session, Hold]:
        return self._session, None  # type: ignore[return-value]


def test_a_row_that_is_gone_from_the_manifest_is_nobodys_failure() -> None:
    fold, heard = Fold(), _Heard()
    sink = _Sink(fold, heard)
    sink.append(moved("rejected", 1))
    fold.expect(1, [moved("rejected", 2)["key"]])
    sink.append(moved("rejected", 2))
    assert heard.failed == [True, False]
    assert QuotaSink.append is WholeSink.append is SessionSink.append
