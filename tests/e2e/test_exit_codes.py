"""What nobody foresaw is a defect of ours, exit 70; what a user can cause is told in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.process import SECRET_KEY, Cli, Done, disk, simulator, write_fleet
from tests.programs import python


def altered(cli: Cli, alteration: str, *args: str, **env: str) -> Done:
    """The command line in a process that was altered first."""
    script = f"{alteration}\nfrom batchsnap.cli.main import main\nmain()"
    return python(cli.folder, script, *args, **env)


def failing(place: str) -> str:
    """An alteration: what stands at `module:name` fails, and its error holds the key."""
    module, _, name = place.partition(":")
    return (
        "import os\n"
        f"import {module} as altered\n"
        "def failing(*args, **more): raise KeyError(os.environ['TENCENTCLOUD_SECRET_KEY'])\n"
        f"altered.{name} = failing"
    )


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("batchsnap.job.run:take_in", id="before anything is sent"),
        pytest.param("batchsnap.engine.attempt:decide", id="while rows are out"),
        pytest.param("batchsnap.job.run:summary_of", id="at the end"),
    ],
)
def test_a_defect_is_exit_70_and_the_next_run_goes_on(cli: Cli, tmp_path: Path, place: str) -> None:
    write_fleet(tmp_path, 8)
    with simulator(tmp_path) as cloud:
        lost = {"match": {"nth": 1}, "do": "lost_reply"}
        cloud.scenario(script=[lost])
        broken = altered(cli, failing(place), "run", "fleet.csv", BATCHSNAP_ENDPOINT=cloud.url)
        done = cli.run("run", "fleet.csv", "--settle-for", "0.5s", BATCHSNAP_ENDPOINT=cloud.url)

        assert broken.code == 70, broken.err
        assert done.code == 0, done.err
        assert cloud.per_disk() == {disk(i): 1 for i in range(8)}
    assert "builtins.KeyError" in broken.err
    assert " in failing\n" in broken.err
    assert broken.err.splitlines()[-1].startswith(
        "batchsnap: a defect of ours, and nothing is lost"
    )
    assert SECRET_KEY not in broken.err
    assert "Traceback" not in broken.err


def test_a_user_without_home_and_passwd_entry(cli: Cli, tmp_path: Path) -> None:
    """A container under an arbitrary user id."""
    write_fleet(tmp_path, 2)
    homeless = (
        "import os, pwd, tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "def getpwuid(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid"
    )
    nothing = {"HOME": "", "XDG_STATE_HOME": ""}
    keyless = {"TENCENTCLOUD_SECRET_ID": "", "TENCENTCLOUD_SECRET_KEY": ""}
    with simulator(tmp_path) as cloud:
        nothing["BATCHSNAP_ENDPOINT"] = cloud.url
        without = altered(cli, homeless, "run", "fleet.csv", "--profile", "p", **nothing, **keyless)
        done = altered(cli, homeless, "run", "fleet.csv", **nothing)

    assert without.code == 3, without.err
    assert "can't read" in without.err
    assert done.code == 0, done.err
    assert not (tmp_path / "~").exists()
    assert "the cap is kept only with processes that use" in done.err


@pytest.mark.parametrize("kind", ["--yes", "--json"])
def test_a_message_that_the_locale_can_not_write(cli: Cli, tmp_path: Path, kind: str) -> None:
    write_fleet(tmp_path, 2)
    with simulator(tmp_path) as cloud:
        refused = {"do": "error", "code": "AuthFailure.SecretIdNotFound", "message": "密钥不存在😀"}
        cloud.scenario(script=[refused])
        to = {"BATCHSNAP_ENDPOINT": cloud.url, "PYTHONIOENCODING": "latin-1"}
        done = cli.run("run", "fleet.csv", kind, **to)

    assert done.code == 3, done.err
    assert r"\u5bc6\u94a5" in done.err
    if kind == "--json":
        assert json.loads(done.out)["halted"][0]["message"] == "密钥不存在😀"


@pytest.mark.parametrize(
    "args",
    [
        ("run", "fleet.csv", "--metrics-port", "99999999"),
        ("run", "fleet.csv", "--metrics-port", "0"),
    ],
)
def test_a_wrong_value_is_a_usage_error(cli: Cli, tmp_path: Path, args: tuple[str, ...]) -> None:
    write_fleet(tmp_path, 1)
    done = cli.run(*args)

    assert done.code == 2, done.err
    assert args[-2] in done.err
    assert args[-1] in done.err
