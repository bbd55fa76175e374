"""A machine whose keys are not the run's claims nothing, says so, and halts nothing for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.fleet import cloud_of, write_wide_fleet
from tests.cluster.team import Gather
from tests.postgres import Base
from tests.process import Cli

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
