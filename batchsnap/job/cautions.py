"""What a careful person should hear before a run begins, and what a ledger's settings became."""

from __future__ import annotations

from batchsnap.job.accounts import where_from
from batchsnap.job.run import Prepared
from batchsnap.ledger.gap import Gap
from batchsnap.ledger.replay import Fold
from batchsnap.manifest.cells import unknown_regions
from batchsnap.pacing.quota_file import home_folder, state_folder
from batchsnap.plan import counted
from batchsnap.settings import SETTLE_FOR_MIN_S, Settings


def warnings(prepared: Prepared) -> list[str]:
    """What a careful person should hear before the run begins."""
    said = [*filter(None, [prepared.told]), *prepared.manifest.warnings]
    said += where_from(prepared.intake.to_do, prepared.settings, prepared.region_from)
    said += prepared.store.warnings()
    if not prepared.spec.simulated and (folder := state_folder()) != (home := home_folder()):
        said.append(
            f"{home} can't be written: the cap is kept only with processes that use {folder} too. "
            "Make it writable, or point XDG_STATE_HOME of all of them to one folder"
        )
    said += raised(prepared.fold, prepared.settings)
    said += unknown_regions(region for _, region in prepared.intake.to_do)
    if prepared.intake.gone:
        number = len(prepared.intake.gone)
        are = "is" if number == 1 else "are"
        said.append(f"{counted(number, 'row')} of the ledger {are} gone from the manifest")
    gap = prepared.ledger.gap if prepared.ledger is not None else Gap.NONE
    if gap is Gap.CUT:
        said.append(
            "the ledger had a damaged end, kept in .broken: every row that isn't done is asked "
            "about before it is sent"
        )
    elif prepared.ledger is not None and gap is Gap.LOST:
        said.append(
            f"{prepared.ledger.lost}: what it lacks is not known, so every row that isn't done is "
            "asked about before it is sent, once the cloud must show what the last calls made"
        )
    return said


def raised(fold: Fold, settings: Settings) -> list[str]:
    """A word about a stored --settle-for that is too short for this endpoint."""
    if settings.settle_for_s != SETTLE_FOR_MIN_S:
        return []
    if fold.settings.get("settle_for_s", SETTLE_FOR_MIN_S) >= SETTLE_FOR_MIN_S:
        return []
    return [f"the ledger's --settle-for is below {SETTLE_FOR_MIN_S:g}s: raised to that"]
