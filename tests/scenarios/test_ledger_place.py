"""Whether a folder outlives the machine, told from the mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsnap.ledger import disk


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/vda / ext4 rw 0 0\n", ""),
        ("overlay / overlay rw 0 0\n", "overlay"),
        ("/dev/vda / ext4 rw 0 0\ntmpfs {} tmpfs rw 0 0\n", "tmpfs"),
        ("overlay / overlay rw 0 0\n/dev/vdb {} xfs rw 0 0\n", ""),
        ("rootfs / rootfs rw 0 0\noverlay / overlay rw 0 0\n", "overlay"),
        ("tmpfs {}else tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\n", ""),
    ],
)
def test_folders_that_die_with_the_machine_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, kind: str
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    text = mounts.format(str(folder).replace(" ", "\\040"))
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert disk.volatile(folder / "ledger") == kind
