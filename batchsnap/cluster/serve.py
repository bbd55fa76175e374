"""A machine that serves every open ledger of a database until it is told to stop.

Each ledger is worked on as if it were the only one, over a session of its own; the bound of owned
quotas is of all together. A ledger that has ended, or is stopped, is served again once it is open
again.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from batchsnap.client.ports import Say
from batchsnap.client.stopping import Stop
from batchsnap.cluster.run import Conclusion, KnownRun, known, work_on
from batchsnap.cluster.worker import Offer
from batchsnap.errors import Exit, LedgerError, first_of_ours
from batchsnap.postgres import schema
from batchsnap.postgres.address import Address
from batchsnap.postgres.door import Away, Database

_LOOK_S = 2.0
_OPEN = (
    f"select name from batchsnap.ledger l where {schema.IS_AT_WORK} and exists "  # noqa: S608
    "(select from batchsnap.quota q where q.ledger = l.id and q.source <> '' and q.ended is null)"
)


class _OpenLedgers:
    """Looks for them over one connection, which is made again when it was lost."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._database: Database | None = None

    def names(self) -> list[str]:
        """Those that have something to do.

        Raises:
            Away: the database does not answer. LedgerError: it holds no ledgers.
        """
        try:
            if self._database is None:
                self._database = Database(self._address, primary=True)
            schema.need(self._database.one(schema.THERE)[0])
            return [name for (name,) in self._database.run(_OPEN)]
        except Away:
            self.close()
            raise

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = None


async def serve(
    address: Address,
    offer: Offer,
    stop: Stop,
    say: Say,
    ended: Callable[[KnownRun, Conclusion], None],
) -> None:
    """Work on what is open, until the stop. `ended` is told how each ledger stood when nothing was
    left of it here.

    Raises:
        LedgerError: the database holds no ledgers, or none that this batchsnap knows.
    """
    offer = offer._replace(keep=True)
    ledgers, at_work, said = _OpenLedgers(address), set[str](), set[str]()

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    async def work(name: str) -> None:
        try:
            ended(*await _work(address.of(name), offer, stop, say))
        except* LedgerError as group:  # of this ledger; it is looked at again
            say_once(f"{name}: {first_of_ours(group)}")
        at_work.discard(name)

    try:
        async with anyio.create_task_group() as tasks:
            while not stop.stopping:
                try:
                    names = await anyio.to_thread.run_sync(ledgers.names)
                except Away as why:
                    say_once(f"ledgers can't be looked for now, it is tried again: {why}")
                    names = []
                for name in names:
                    if name not in at_work:
                        at_work.add(name)
                        tasks.start_soon(work, name)
                with stop.ends():
                    await anyio.sleep(_LOOK_S)
    except* LedgerError as group:
        raise first_of_ours(group) from None
    finally:
        ledgers.close()


async def _work(
    address: Address, offer: Offer, stop: Stop, say: Say
) -> tuple[KnownRun, Conclusion]:
    """One ledger, until nothing is left of it here."""

    def tell(text: str) -> None:
        say(f"{address.ledger}: {text}")

    own = Stop()  # a bound on this run's time is none of the others'
    stop.tell(lambda: own.request(stop.exit or Exit.UNFINISHED, stop.reason))
    there = await anyio.to_thread.run_sync(known, address)
    if there is None:
        raise LedgerError("it is gone")
    return there, await work_on(address, there, offer, own, tell)
