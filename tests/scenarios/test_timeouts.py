"""One timer for all calls that are out, on virtual time: it ends what `asyncio.timeout` would."""

from __future__ import annotations

import asyncio

import pytest

from batchsnap.clock import Timeouts
from tests.virtual import VirtualLoop, run_virtual

LONGEST_S = 30.0


def ends(*waits: tuple[float, float], cancel_at: float | None = None) -> list[tuple[str, float]]:
    """How and when waits end that begin and last so; seconds since the first could begin."""
    loop = VirtualLoop()
    began, told = loop.time(), [("", 0.0)] * len(waits)

    async def one(nth: int, at: float, lasts: float, timeouts: Timeouts) -> None:
        await asyncio.sleep(at)
        how = "done"
        try:
            with timeouts.begin():
                await asyncio.sleep(lasts)
        except TimeoutError:
            how = "late"
        except asyncio.CancelledError:
            how = "cancelled"
        told[nth] = how, round(loop.time() - began, 2)

    async def main() -> None:
        timeouts = Timeouts(LONGEST_S)
        tasks = [asyncio.ensure_future(one(n, *w, timeouts)) for n, w in enumerate(waits)]
        if cancel_at is not None:
            loop.call_at(began + cancel_at, tasks[0].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main(), loop)
    return told


def test_a_wait_ends_when_its_time_is_up_whatever_others_do() -> None:
    assert ends((0, 10), (1, 100), (2, 5), (3, 29.9), (4, 1000), (50, 100)) == [
        ("done", 10.0),
        ("late", 31.0),
        ("done", 7.0),
        ("done", 32.9),
        ("late", 34.0),
        ("late", 80.0),
    ]


def test_who_is_cancelled_before_its_time_is_up_is_told_so() -> None:
    assert ends((0, 100), (0, 100), cancel_at=12) == [("cancelled", 12.0), ("late", 30.0)]


@pytest.mark.parametrize("late", [False, True])
def test_a_task_that_was_late_can_wait_again(late: bool) -> None:
    """A timeout leaves no cancellation behind, or the next wait would never be told late."""

    async def main() -> int:
        timeouts, told = Timeouts(LONGEST_S), 0
        for _ in range(3):
            try:
                with timeouts.begin():
                    await asyncio.sleep(100 if late else 1)
            except TimeoutError:
                told += 1
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        return told

    assert run_virtual(main(), VirtualLoop()) == (3 if late else 0)


@pytest.mark.parametrize("what", ["cancelled", "failed"])
def test_what_else_happens_in_the_moment_of_the_end_is_not_lost(what: str) -> None:
    """As with asyncio's own: whoever cancelled the task then must see it end so, and an error that
    the end brings about is told as itself."""

    async def body() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        if what == "cancelled":
            loop.call_at(loop.time() + LONGEST_S, task.cancel)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError as error:
            if what == "failed":
                raise ValueError from error
            raise

    async def ours() -> None:
        with Timeouts(LONGEST_S).begin():
            await body()

    async def theirs() -> None:
        async with asyncio.timeout(LONGEST_S):
            await body()

    expected = asyncio.CancelledError if what == "cancelled" else ValueError
    for bounded in (ours, theirs):
        with pytest.raises(expected):
            run_virtual(bounded(), VirtualLoop())


def test_one_timer_stands_for_all_and_what_is_over_is_kept_by_none() -> None:
    """One call that hangs must not hold on to the thousands that end before it is late."""
    loop = VirtualLoop()

    async def main() -> tuple[int, int]:
        timeouts = Timeouts(LONGEST_S)
        with timeouts.begin():
            for _ in range(100):
                with timeouts.begin():
                    await asyncio.sleep(0)
            return len(loop._scheduled), len(timeouts._waits)  # type: ignore[attr-defined]

    assert run_virtual(main(), loop) == (1, 1)
