"""Files for people: written whole or not at all, and safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from batchsnap.errors import UsageError
from batchsnap.model import DiskRow
from batchsnap.plan import key_of
from batchsnap.report.facts import FAILED, RowFact

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FACTS = (
    *("disk_id", "disk_backup_id", "region", "profile", "state", "snapshot_id", "snapshot_name"),
    *("attempts", "request_id", "code", "message", "remedy", "at"),
)


_MANIFEST = (
    *("DiskId", "DiskBackupId", "Region", "SnapshotName", "Deadline", "DiskUsage", "Tags"),
    "Profile",
)


def write_whole(path: Path, data: bytes) -> None:
    """Temporary file in the same folder, sync, rename.

    Raises:
        UsageError: the file can't be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from error


def facts_csv(facts: Iterable[RowFact]) -> str:
    """A row a fact, as a spreadsheet likes it: CRLF, and no cell that it would compute. The
    byte order mark that tells it UTF-8 is the writer's."""
    return _csv(_FACTS, ([str(getattr(fact, name)) for name in _FACTS] for fact in facts))


def failed_manifest(facts: Iterable[RowFact], rows: Iterable[DiskRow]) -> str:
    """The failed rows as a manifest that `run` takes, with all that they brought."""
    by_key = {key_of(row.disk_id, row.disk_backup_id): row for row in rows}
    lines = []
    for fact in facts:
        if fact.state not in FAILED:
            continue
        row = by_key.get(fact.key)
        tags = ";".join(f"{key}={value}" for key, value in row.tags) if row else ""
        lines.append(
            [
                fact.disk_id if row is None else row.disk_id,
                fact.disk_backup_id,
                fact.region,
                row.snapshot_name if row else "",
                row.deadline if row else "",
                row.disk_usage if row else "",
                tags,
                fact.profile,
            ]
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_MANIFEST, *lines])
    return text.getvalue()


def _csv(names: Iterable[str], rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
    return text.getvalue()
