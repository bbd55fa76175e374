"""The live view, as it stands on the terminal at the end."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.process import Cli, sets, simulator, write_fleet
from tests.terminal import on_a_terminal, read_to_end, screen


def test_what_was_said_stays_and_the_bar_goes(cli: Cli, tmp_path: Path) -> None:
    write_fleet(tmp_path, 40)
    with simulator(tmp_path, *sets(latency_ms=300.0)) as cloud:
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process, master = on_a_terminal(cli, "run", "fleet.csv", "--yes", **to)
        cloud.wait_for(lambda state: state["created"] >= 5, process)
        process.send_signal(signal.SIGINT)
        text = read_to_end(master)

        assert process.wait(30) == 130
        made = cloud.state()["created"]
    assert "━" in text
    lines = screen(text)
    assert lines[0].startswith("40 snapshots in 1 region")
    signal_said = lines.index("SIGINT: waiting for replies that are out; once more stops at once")
    assert lines[1].startswith("  to http://127.0.0.1:")
    assert lines[1].endswith("keys from the environment")
    assert lines[signal_said + 1].endswith(": 40 rows")
    assert f"{made:>11}  accepted  the cloud took the order" in lines
    assert "━" not in "".join(lines)
    assert sum(line.startswith("exit 130") for line in lines) == 1


def test_a_message_is_kept_as_it_was_said(cli: Cli, tmp_path: Path) -> None:
    """It is text, not markup, and is broken nowhere but by the terminal."""
    write_fleet(tmp_path, 8)
    message = "[red]no such key[/red] :warning: " + "and so on " * 12
    with simulator(tmp_path) as cloud:
        refused = {"do": "error", "code": "AuthFailure.SecretIdNotFound", "message": message}
        cloud.scenario(script=[refused])
        to = {"BATCHSNAP_ENDPOINT": cloud.url}
        process, master = on_a_terminal(cli, "run", "fleet.csv", "--yes", **to)
        lines = screen(read_to_end(master))

        assert process.wait(30) == 3
    assert any(message.strip() in line for line in lines if line.startswith("halted")), lines
    assert "━" not in "".join(lines)
