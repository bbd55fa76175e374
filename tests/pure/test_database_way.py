"""Whose server a ledger's database is, on the way to it."""

from __future__ import annotations

import pytest

from batchsnap.postgres.address import unverified, verified

FAR, NEAR = {"host": "db.example"}, {"host": "/run/postgresql"}


@pytest.mark.parametrize(
    ("told", "environment", "given", "word"),
    [
        (FAR, {}, {"sslmode": "verify-full"}, ""),
        (NEAR, {}, {}, ""),
        ({"host": "127.0.0.1"}, {"PGSSLMODE": "disable"}, {}, ""),
        ({"host": "/tmp,db.example"}, {}, {"sslmode": "verify-full"}, ""),
        ({}, {"PGHOST": "db.example"}, {"sslmode": "verify-full"}, ""),
        ({**FAR, "sslmode": "verify-full"}, {}, {}, ""),
        ({**FAR, "sslmode": "require"}, {}, {}, "sslmode=require"),
        (FAR, {"PGSSLMODE": "prefer"}, {}, "sslmode=prefer"),
        ({**FAR, "service": "ops"}, {}, {}, ""),
    ],
)
def test_a_weaker_sslmode_is_obeyed_and_said(
    told: dict[str, str], environment: dict[str, str], given: dict[str, str], word: str
) -> None:
    assert verified(told, environment) == given
    assert word in unverified(told, environment)
    assert bool(unverified(told, environment)) is bool(word)
