"""A fleet of many quotas: each profile has keys of its own, and so a cap of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchsnap.simulator.scenario import Scenario
from batchsnap.simulator.server import EmbeddedSimulator
from tests.process import SECRET_KEY, Cloud, disk


@contextmanager
def cloud_of(folder: Path, quotas: int, **scenario: Any) -> Iterator[Cloud]:
    """A cloud that knows so many keys, which stand in `folder`."""
    keys = write_keys(folder, quotas)
    with EmbeddedSimulator(Scenario(**scenario), credentials=keys) as simulator:
        yield Cloud(simulator.url)


def write_keys(folder: Path, quotas: int) -> dict[str, str]:
    """A profile for each quota, with an id of its own; the secrets by id."""
    (folder / ".tccli").mkdir(exist_ok=True)
    keys = {f"AKIDp{number}": SECRET_KEY for number in range(quotas)}
    for number, (secret_id, key) in enumerate(keys.items()):
        text = json.dumps({"secretId": secret_id, "secretKey": key})
        (folder / ".tccli" / f"p{number}.credential").write_text(text)
    return keys


def only_keys_of(folder: Path, profile: str) -> dict[str, str]:
    """As on a machine that has this profile's keys, and no others."""
    home = folder / "elsewhere" / ".tccli"
    home.mkdir(parents=True)
    name = f"{profile}.credential"
    (home / name).write_bytes((folder / ".tccli" / name).read_bytes())
    return {"HOME": str(home.parent), "TENCENTCLOUD_SECRET_ID": "", "TENCENTCLOUD_SECRET_KEY": ""}


def write_wide_fleet(folder: Path, rows: int, quotas: int) -> None:
    """A manifest whose rows are spread over the profiles."""
    lines = [f"{disk(i)},ap-tokyo,p{i % quotas}" for i in range(rows)]
    (folder / "fleet.csv").write_text("DiskId,Region,Profile\n" + "\n".join(lines) + "\n")
