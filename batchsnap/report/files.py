"""Files for people: written whole or not at all, and safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from batchsnap.errors import UsageError
from batchsnap.lifecycle import FAILED_WORDS
from batchsnap.model import DiskRow
from batchsnap.plan import key_of
from batchsnap.report.story import RowFact

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the start of a formula, some also in their full width."""
_FACTS = (
    *("disk_id", "disk_backup_id", "region", "profile", "state", "snapshot_id", "snapshot_name"),
    *("attempts", "request_id", "code", "message", "remedy", "at", "snapshot_ids", "source_id"),
)
_MANIFEST = (
    *("DiskId", "DiskBackupId", "Region", "SnapshotName", "Deadline", "DiskUsage", "Tags"),
    "Profile",
)


def write_whole(path: Path, data: bytes, *, spared: Iterable[Path] = ()) -> None:
    """Temporary file in the same folder, sync, rename; a pipe or device is written to as it is.

    Raises:
        UsageError: the file can't be written, or is one of `spared`.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    for own in spared:
        if target == Path(os.path.realpath(own)) or _same_file(target, own):
            raise UsageError(f"{path} belongs to the run itself: write the report elsewhere")
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                file.write(data)
            return
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if target.exists():
                    os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from error


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False  # one of them is not there


def facts_csv(facts: Iterable[RowFact]) -> str:
    """A row a fact, as a spreadsheet likes it: CRLF, and no cell that it would compute. The
    byte order mark that tells it UTF-8 is the writer's."""
    return csv_text(_FACTS, ([str(getattr(fact, name)) for name in _FACTS] for fact in facts))


def failed_manifest(facts: Iterable[RowFact], rows: Iterable[DiskRow]) -> str:
    """The failed rows as a manifest that `run` takes, with all that they brought; without `rows`
    tags, deadlines and usages are not known, but a row's own name is."""
    by_key = {key_of(row.disk_id, row.disk_backup_id): row for row in rows}
    lines = []
    for fact in facts:
        if fact.state not in FAILED_WORDS:
            continue
        row = by_key.get(fact.key)
        tags = ";".join(f"{key}={value}" for key, value in row.tags) if row else ""
        lines.append(
            [
                fact.disk_id if row is None else row.disk_id,
                fact.disk_backup_id,
                fact.region,
                row.snapshot_name if row else fact.snapshot_name * fact.named,
                row.deadline if row else "",
                row.disk_usage if row else "",
                tags,
                fact.profile,
            ]
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_MANIFEST, *lines])
    return text.getvalue()


def csv_text(names: Iterable[str], rows: Iterable[list[str]]) -> str:
    """CRLF, and no cell that a spreadsheet would compute."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
    return text.getvalue()
