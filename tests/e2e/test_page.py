"""The report page in a real browser: it draws, searches, asks nobody, runs no stranger's code."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from batchsnap.ledger.file import FileStore
from batchsnap.report.page import write_page
from tests.browser import CHROMIUM, Page, browser
from tests.ledgers import write_ledger, write_manifest

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=2>"
DRAWN = """[...document.querySelectorAll('canvas')].map((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value) => value !== 0);
})"""


def looked_at(path: Path, look: str) -> tuple[Page, object]:
    async def main() -> tuple[Page, object]:
        async with browser() as page:
            await page.open(path.as_uri())
            return page, await page.eval(look)

    return anyio.run(main)


def search(text: str) -> str:
    return f"""(() => {{
        const box = document.getElementById('search');
        box.value = {text!r};
        box.dispatchEvent(new Event('input'));
        return [document.querySelectorAll('#rows tbody tr').length,
                document.getElementById('shown').textContent];
    }})()"""


def test_the_page_draws_searches_and_stays_at_home(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(FileStore(write_ledger(tmp_path / "l.jsonl", 1000)), page)

    tab, found = looked_at(page, f"[{DRAWN}, {search('disk-00000059')}]")

    assert found == [[True, True, True], [1, "1 of 1,000"]]
    assert not tab.told("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    requests = [e["params"]["request"]["url"] for e in tab.told("Network.requestWillBeSent")]
    assert all(url.startswith(("file:", "data:", "about:")) for url in requests), requests


def halted_page(folder: Path) -> Path:
    """The page of a run of 400 rows that was halted, its manifest beside it."""
    page, manifest = folder / "report.html", write_manifest(folder / "fleet.csv", 400)
    ledger = write_ledger(folder / "l.jsonl", 400, halted=True, manifest=manifest)
    write_page(FileStore(ledger), page)
    return page


def test_what_needs_somebody_comes_first(tmp_path: Path) -> None:
    page = halted_page(tmp_path)

    _, found = looked_at(
        page,
        """(() => {
            const state = [...document.querySelectorAll('#rows th')]
                .findIndex((th) => th.textContent === 'State');
            const states = () => [...document.querySelectorAll('#rows tbody tr')]
                .map((tr) => tr.children[state].textContent);
            document.querySelectorAll('#rows th')[state].click();
            const first = states()[0];
            document.querySelectorAll('#rows th')[state].click();
            const last = states()[0];
            const box = document.getElementById('search');
            box.value = 'pending';
            box.dispatchEvent(new Event('input'));
            return [first, last, new Set(states()).size, states()[0],
                document.getElementById('shown').textContent,
                document.querySelectorAll('.note:not(noscript *)').length];
        })()""",
    )

    assert found == ["rejected", "ready", 1, "pending", "67 of 400", 0]


def test_a_script_that_slipped_in_would_not_run(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(FileStore(write_ledger(tmp_path / "l.jsonl", 200)), page)
    text = page.read_text(encoding="utf8")
    page.write_text(text.replace("<main>", f"<main>{HOSTILE}<i onclick='window.hit=3'></i>"))

    tab, found = looked_at(
        page, f"[document.querySelector('i').click(), typeof window.hit, {DRAWN}]"
    )

    assert found == [None, "undefined", [True, True, True]]
    assert any("Content Security Policy" in str(e) for e in tab.told("Log.entryAdded"))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(
        FileStore(write_ledger(tmp_path / "l.jsonl", 200, message=HOSTILE, name=HOSTILE)), page
    )

    _, found = looked_at(
        page,
        "[typeof window.hit, document.querySelectorAll('img').length,"
        " [...document.querySelectorAll('#rows tr:first-child td')].map((td) => td.textContent)"
        "   .includes(" + json.dumps(HOSTILE) + "),"
        " [...document.querySelectorAll('.reasons small')].map((tag) => tag.textContent)]",
    )

    assert found == ["undefined", 0, True, [HOSTILE, HOSTILE]]


@pytest.mark.parametrize("rows", [40_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_ten_thousand_rows_are_small_and_many_more_open(tmp_path: Path, rows: int) -> None:
    small, large = tmp_path / "small.html", tmp_path / "large.html"
    write_page(FileStore(write_ledger(tmp_path / "s.jsonl", 10_000)), small)
    write_page(FileStore(write_ledger(tmp_path / "l.jsonl", rows)), large)

    tab, found = looked_at(large, f"[document.querySelectorAll('#rows tr').length, {DRAWN}]")

    assert small.stat().st_size < 2_000_000
    assert found == [101, [True, True, True]]
    assert not tab.told("Runtime.exceptionThrown")


ROWS = (
    """[...document.querySelectorAll('#rows tbody tr')].map((tr) => tr.children[2].textContent)"""
)


def test_a_run_of_one_second_has_a_width_and_ten_seconds_of_axis(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(FileStore(write_ledger(tmp_path / "l.jsonl", 12)), page)

    _, found = looked_at(page, f"[document.getElementById('starts').dataset.shown, {DRAWN}]")

    low, high, points = json.loads(found[0])  # type: ignore[index]
    assert high - low >= 10
    assert points == 2  # the second, and the point that closes it
    assert found[1] == [True, True]  # type: ignore[index]  # no throttled call is a sentence


def test_rows_that_need_somebody_stand_first_and_a_state_is_one_click_away(tmp_path: Path) -> None:
    page = halted_page(tmp_path)

    _, found = looked_at(
        page,
        f"""(() => {{
            const first = {ROWS}[0];
            const button = [...document.querySelectorAll('#filters button')]
                .find((b) => b.textContent.startsWith('gave up'));
            button.click();
            const only = [...new Set({ROWS})];
            button.click();
            return [first, only, button.textContent, new Set({ROWS}).size > 1];
        }})()""",
    )

    assert found == ["rejected", ["gave_up"], "gave up 2", True]


def test_paper_has_every_failure_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(FileStore(write_ledger(tmp_path / "l.jsonl", 20_000)), page)

    async def main() -> object:
        async with browser() as tab:
            await tab.open(page.as_uri())
            await tab.call("Emulation.setEmulatedMedia", media="print")
            while not await tab.eval("document.getElementById('left-out').textContent"):
                pass
            return await tab.eval(
                f"[{ROWS}.length, [...new Set({ROWS})],"
                " document.getElementById('left-out').textContent]"
            )

    number, states, left_out = anyio.run(main)  # type: ignore[misc]
    assert states == ["rejected", "gave_up"]
    assert number > 100
    assert f"{20_000 - number:,} rows that did not fail are left out" in left_out
