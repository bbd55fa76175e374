"""What is seen of a run on many machines: who owns what, who went, who went on, how it ended."""

from __future__ import annotations

from pathlib import Path

from jsonschema import Draft202012Validator

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather, until
from tests.postgres import Base
from tests.process import Cli

HEAD = "2 quotas: "


def test_owners_are_named_and_a_takeover_is_a_mark(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 400, 2)
    reader = base.url("nightly", "reader")
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--max-quotas", "1", "--rate", "4")
        killed = team.work("--max-quotas", "1")
        until(lambda: team.owned_by(killed) > 0 and team.made() > 4)
        spare = team.work()
        told = cli.run("status", reader).out
        told_json = cli.run("status", reader, "--json").json
        quotas = {q["owner"].rpartition(":")[2]: q for q in told_json["quotas"]}
        assert f"{HEAD}2 owned by 2 workers" in told
        assert quotas.keys() == {str(run.pid), str(killed.pid)}
        Draft202012Validator(cli.run("schema", "summary").json).validate(told_json)
        for quota in quotas.values():
            assert quota["profiles"][0] in ("p0", "p1")
            assert quota["since"].endswith("Z")
            assert 0 <= quota["left"] <= quota["rows"] == 200
        assert sum(quota["left"] for quota in quotas.values()) < 400
        killed.kill()
        until(lambda: team.events()["claimed"] == 3)
        assert cli.run("stop", team.url).code == 0
        for process in (run, spare):
            assert process.wait(60) == 5, process.communicate()

    assert f"{HEAD}2 without an owner" in cli.run("status", reader).out
    assert cli.run("ledger", "export", team.url, "-o", "copy.jsonl").code == 0
    for ledger in (reader, "copy.jsonl"):
        page = tmp_path / "page.html"
        assert cli.run("report", ledger, "-o", str(page)).code == 0
        text = page.read_text()
        assert f":{spare.pid} took over p" in text
        assert f":{killed.pid}" in text
        assert text.count('"word":"taken over"') == 1
        assert f"{HEAD}2 without an owner" in text
        assert f"{HEAD}2 without an owner" in cli.run("report", ledger).out


def test_a_run_that_was_stopped_is_told_so_and_no_watcher_waits(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base
) -> None:
    write_wide_fleet(tmp_path, 60, 2)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        run = team.run("--rate", "2")
        until(lambda: team.made() > 2)
        watching = cli.start("status", team.url, "--watch")
        assert cli.run("stop", team.url).code == 0
        assert run.wait(60) == 5, run.communicate()
        watched, _ = watching.communicate(timeout=30)
        told = cli.run("status", team.url).out
        copied = cli.run("ledger", "export", team.url, "-o", "copy.jsonl")
        assert copied.code == 0
        for text in (watched, told, cli.run("status", "copy.jsonl").out):
            assert "(batchsnap stop), exit 5: to go on, run the same command again" in text
        assert f"{HEAD}2 without an owner" in told
        assert "ETA" not in told
        on = team.run("--rate", "20")
        assert on.wait(60) == 0, on.communicate()
        assert "finished at" in cli.run("status", team.url).out


def test_a_quota_that_halted_says_why(cli: Cli, gather: Gather, tmp_path: Path, base: Base) -> None:
    write_wide_fleet(tmp_path, 20, 2)
    with cloud_of(tmp_path, 2) as cloud:
        (tmp_path / ".tccli" / "p1.credential").write_text(
            '{"secretId": "AKIDp1", "secretKey": "wrong"}'
        )
        team = gather(base, cloud)
        run = team.run()
        assert run.wait(60) == 3, run.communicate()
        told = cli.run("status", team.url)
        assert f"{HEAD}1 done, 1 halted" in told.out
        assert "p1  halted, 10 left: AuthFailure" in told.out
        assert "exit 3: to go on, run the same command again" in told.out
