"""A machine whose keys are not the run's claims nothing, says so, and halts nothing for others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from batchsnap.client import questions
from batchsnap.cluster.keys import Keys
from batchsnap.postgres.reading import QuotaRow
from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather
from tests.postgres import Base
from tests.process import Cli, disk

ARN = "qcs::cam::uin/100000000001:roleName/keeper"


@pytest.mark.parametrize("denied", [False, True], ids=["sees no disk", "may not ask"])
def test_a_role_of_that_name_in_another_account_makes_nothing(
    gather: Gather, tmp_path: Path, base: Base, denied: bool
) -> None:
    """Only the disks tell whose a role is. Where the policy forbids to ask, it is trusted."""
    write_wide_fleet(tmp_path, 10, 1)
    with cloud_of(tmp_path, 1) as cloud:
        _as_role(tmp_path, "p0", ARN)
        team = gather(base, cloud)
        loaded = team.run("--no-work")
        cloud.scenario(not_found=1.0, no_describe_disks=denied)
        helper = team.work()
        err = helper.communicate(timeout=90)[1]
        if denied:
            assert team.events()["claimed"] > 0, err
            return
        assert helper.returncode == 5, err
        assert "it sees none of 10 disks of the run" in err
        assert "it lacks: profile p0" in err
        assert (team.events()["claimed"], team.events()["halted"]) == (0, 0)
        cloud.scenario(not_found=0.0)
        assert team.work().wait(90) == 0
        assert loaded.wait(90) == 0
        team.check(10)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"secretId": "AKIDp0", "secretKey": "mistyped"}, "AuthFailure.SignatureFailure"),
        ({"secretId": "AKIDp1", "secretKey": "secret-1"}, "it has other keys here"),
    ],
    ids=["refused", "another's"],
)
def test_a_key_that_is_not_the_runs_halts_nothing_for_others(
    cli: Cli, gather: Gather, tmp_path: Path, base: Base, keys: dict[str, str], said: str
) -> None:
    write_wide_fleet(tmp_path, 10, 1)
    with cloud_of(tmp_path, 2) as cloud:
        team = gather(base, cloud)
        loaded = team.run("--no-work")
        home = tmp_path / "elsewhere"
        (home / ".tccli").mkdir(parents=True)
        (home / ".tccli" / "p0.credential").write_text(json.dumps(keys))
        wrong = cli.run("work", team.url, HOME=str(home))
        assert wrong.code == 5, wrong.err
        assert said in wrong.err
        assert (team.events()["claimed"], team.events()["halted"]) == (0, 0)
        assert team.work().wait(90) == 0
        assert loaded.wait(90) == 0
        team.check(10)


def _as_role(folder: Path, profile: str, arn: str) -> None:
    """The profile's keys assume a role, whose calls are its own."""
    path = folder / ".tccli" / f"{profile}.credential"
    path.write_text(json.dumps({**json.loads(path.read_text()), "role-arn": arn}))


def quota(number: int, source: str = "role:keeper") -> QuotaRow:
    return QuotaRow(number, source, f"host-{number}", '["p0"]', 1, 0, None)


def admits(keys: Keys, monkeypatch: pytest.MonkeyPatch, row: QuotaRow, sees: int, of: int) -> bool:
    """Whether it claims a quota of so many disks, of which the cloud shows some; -1: no answer."""

    async def disks(account: Any, region: str, ids: list[str]) -> Any:
        if sees < 0:
            return questions.Part((), questions.Unanswered(False, "http.502", "a proxy's page"))
        return questions.Whole(tuple(ids[:sees]))

    monkeypatch.setattr(questions, "disks", disks)
    rows = [SimpleNamespace(disk_id=disk(i)) for i in range(of)]
    queue = SimpleNamespace(profile="p0", region="r", coming=lambda most: rows[:most])
    share: Any = SimpleNamespace(quota=row, intake=SimpleNamespace(queues={"q": queue}))
    return bool(anyio.run(keys.admitted, [share], lambda profile, region: None))


def test_a_quota_whose_disks_are_gone_says_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their rows are refused once another quota has shown whose the keys are."""
    said: list[str] = []
    keys = Keys(None, said.append)  # type: ignore[arg-type]
    assert not admits(keys, monkeypatch, quota(1), sees=0, of=2)
    assert "profile p0 at host-1: it sees none of 2 disks" in said[0]
    assert not keys.fit(quota(1))
    assert keys.fit(quota(2))
    assert keys.lacking == ["profile p0"]
    assert admits(keys, monkeypatch, quota(2), sees=1, of=2)
    assert keys.fit(quota(1))
    assert admits(keys, monkeypatch, quota(1), sees=0, of=2)


def test_a_quota_without_disks_to_ask_about_vouches_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = Keys(None, lambda _: None)  # type: ignore[arg-type]
    assert admits(keys, monkeypatch, quota(1), sees=0, of=0)
    assert not admits(keys, monkeypatch, quota(2), sees=0, of=3)


def test_who_gets_no_answer_says_so_once_and_is_trusted_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    keys = Keys(None, said.append)  # type: ignore[arg-type]
    admitted = [admits(keys, monkeypatch, quota(1), sees=-1, of=2) for _ in range(3)]
    assert admitted == [False, False, True]
    assert len(said) == 1
    assert "profile p0 sees before it claims for it: http.502" in said[0]
