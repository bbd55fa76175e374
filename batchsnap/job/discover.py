"""From tags and instances to disks: all pages of DescribeDisks, in an order that spreads load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchsnap.client import questions
from batchsnap.client.account import Account
from batchsnap.client.ports import Say
from batchsnap.cloud import actions
from batchsnap.cloud.pages import DiskFact


class Wanted(NamedTuple):
    """Which disks to find; empty means any. Values of one kind are alternatives, kinds add up."""

    tags: Sequence[tuple[str, str]] = ()
    instances: Sequence[str] = ()
    zones: Sequence[str] = ()
    usage: str = ""
    projects: Sequence[str] = ()
    attached: bool | None = None

    def filters(self) -> list[actions.Filter]:
        """For DescribeDisks; `attached` is not asked for, since a state is not a filter of it."""
        by_key: dict[str, list[str]] = {}
        for key, value in self.tags:
            by_key.setdefault(key, []).append(value)
        filters: list[actions.Filter] = [(f"tag:{key}", values) for key, values in by_key.items()]
        for name, values in (
            ("instance-id", self.instances),
            ("zone", self.zones),
            ("disk-usage", [self.usage] if self.usage else []),
            ("project-id", self.projects),
        ):
            if values:
                filters.append((name, values))
        return filters


class Found(NamedTuple):
    """A disk and the region it is in."""

    disk: DiskFact
    region: str


def unfit(disk: DiskFact) -> str:
    """Why no snapshot can be made of a disk, or ""."""
    if not disk.snapshot_ability:
        return "has no SnapshotAbility"
    if disk.state == "TORECYCLE":
        return "is in the recycle bin"
    return ""


async def discover(
    account: Account, region: str, wanted: Wanted, say: Say
) -> list[Found] | questions.Unanswered:
    """All wanted disks of a region, fit or not. Of a list that stays short, what several walks
    showed together, and a warning."""
    answer = await questions.disks_like(account, region, wanted.filters())
    if isinstance(answer, questions.Part):
        if answer.why.code != questions.SHORT:
            return answer.why
        say(
            f"{region}: {answer.why.message}: {len(answer.facts)} disks were found, others may be "
            "missing. Compare with the console, or discover again"
        )
    return [
        Found(disk, region)
        for disk in answer.facts
        if wanted.attached is None or disk.attached == wanted.attached
    ]


def spread(found: Iterable[Found]) -> list[Found]:
    """Neighbours on different instances, where that is possible: operations on one instance run
    one after another. The order depends on ids alone, so two discoveries can be compared."""
    by_instance: dict[str, list[Found]] = {}
    for one in sorted(found, key=lambda f: (f.region, f.disk.disk_id)):
        by_instance.setdefault(one.disk.instance_id or one.disk.disk_id, []).append(one)
    ranked = [
        (rank, one.region, instance, one)
        for instance, disks in by_instance.items()
        for rank, one in enumerate(disks)
    ]
    ranked.sort(key=lambda item: item[:3])
    return [item[3] for item in ranked]
