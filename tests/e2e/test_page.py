"""The report page in a real browser: it draws, searches, asks nobody, runs no stranger's code."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

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
    write_page(write_ledger(tmp_path / "l.jsonl", 1000), page)

    tab, found = looked_at(page, f"[{DRAWN}, {search('disk-00000059')}]")

    assert found == [[True, True, True], [1, "1 of 1,000"]]
    assert not tab.told("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    requests = [e["params"]["request"]["url"] for e in tab.told("Network.requestWillBeSent")]
    assert all(url.startswith(("file:", "data:", "about:")) for url in requests), requests


def test_what_needs_somebody_comes_first(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    manifest = write_manifest(tmp_path / "fleet.csv", 400)
    write_page(write_ledger(tmp_path / "l.jsonl", 400, halted=True, manifest=manifest), page)

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
    write_page(write_ledger(tmp_path / "l.jsonl", 200), page)
    text = page.read_text(encoding="utf8")
    page.write_text(text.replace("<main>", f"<main>{HOSTILE}<i onclick='window.hit=3'></i>"))

    tab, found = looked_at(
        page, f"[document.querySelector('i').click(), typeof window.hit, {DRAWN}]"
    )

    assert found == [None, "undefined", [True, True, True]]
    assert any("Content Security Policy" in str(e) for e in tab.told("Log.entryAdded"))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(write_ledger(tmp_path / "l.jsonl", 200, message=HOSTILE, name=HOSTILE), page)

    _, found = looked_at(
        page,
        "[typeof window.hit, document.querySelectorAll('img').length,"
        " [...document.querySelectorAll('#rows tr:first-child td')].map((td) => td.textContent)"
        "   .includes(" + json.dumps(HOSTILE) + "),"
        " [...document.querySelectorAll('.reasons small')].map((tag) => tag.textContent)]",
    )

    assert found == ["undefined", 0, True, [HOSTILE, HOSTILE]]


def test_ten_thousand_rows_are_small_and_a_hundred_thousand_open(tmp_path: Path) -> None:
    small, large = tmp_path / "small.html", tmp_path / "large.html"
    write_page(write_ledger(tmp_path / "s.jsonl", 10_000), small)
    write_page(write_ledger(tmp_path / "l.jsonl", 100_000), large)

    tab, found = looked_at(large, f"[document.querySelectorAll('#rows tr').length, {DRAWN}]")

    assert small.stat().st_size < 2_000_000
    assert found == [101, [True, True, True]]
    assert not tab.told("Runtime.exceptionThrown")
