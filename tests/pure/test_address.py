"""What an address of a ledger in PostgreSQL may be, and that no password is repeated."""

from __future__ import annotations

import pytest

from batchsnap.errors import UsageError
from batchsnap.postgres.address import given, is_postgres, need_ledger, parse
from batchsnap.postgres.schema import pair_lock, run_lock


@pytest.mark.parametrize(
    ("text", "conninfo", "ledger"),
    [
        ("postgresql://db/ops/nightly", "postgresql://db/ops", "nightly"),
        ("postgres://me@db:5433/ops/n.2", "postgresql://me@db:5433/ops", "n.2"),
        ("postgresql://a,b:1/ops/n?sslmode=require", "postgresql://a,b:1/ops?sslmode=require", "n"),
        ("postgresql:///ops/n", "postgresql:///ops", "n"),
        ("postgresql:///ops?host=/run/pg", "postgresql:///ops?host=/run/pg", ""),
        ("postgresql://db/ops", "postgresql://db/ops", ""),
        ("postgresql://db:1/ops/n?user=a@b", "postgresql://db:1/ops?user=a@b", "n"),
        ("postgresql:/db/ops/n", "postgresql://db/ops", "n"),  # a path ate a slash
    ],
)
def test_an_address_names_a_database_and_a_ledger(text: str, conninfo: str, ledger: str) -> None:
    address = parse(text)
    assert (address.conninfo, address.database, address.ledger) == (conninfo, "ops", ledger)
    assert parse(address.label) == address


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@db/ops/n",
        "postgresql://me:@db/ops/n",
        "postgresql://db/ops/n?password=hunter2",
        "postgresql://db/ops/n?sslmode=require&PASSWORD=hunter2",
        "postgresql://db/ops/n?pass%77ord=hunter2",
        "postgresql://db/ops/n?sslpassword=hunter2",
        "postgresql:///ops/n;?password=hunter2",
        "postgresql://me:hunter2@db",
        "postgresql://me:hunter2@db/ops/bad name",
        "postgresql://me:hunter2/x@db/ops/n",  # not percent-encoded
        "postgresql://me:1/hunter2@db",
        "postgresql://me:hunter2?x@db/ops/n",
        "postgresql://me:hunter2?@db/ops/n",
    ],
)
def test_a_password_is_refused_before_anything_repeats_it(text: str) -> None:
    with pytest.raises(UsageError, match="password") as error:
        parse(text)
    assert "hunter2" not in str(error.value)
    assert "pgpass" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["postgresql://db", "postgresql://db/", "postgresql://db/ops/a b", "postgresql://db/ops/x/y"],
)
def test_what_can_be_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_other_texts_are_no_addresses() -> None:
    assert not is_postgres("fleet.csv.ledger.jsonl")
    assert not is_postgres("postgresql")
    with pytest.raises(UsageError, match="postgresql://HOST"):
        given("fleet.csv.ledger.jsonl")
    with pytest.raises(UsageError, match="names no ledger"):
        need_ledger(given("postgresql://db/ops"))


def test_locks_have_numbers_that_a_bigint_holds_and_that_differ() -> None:
    numbers = {pair_lock("a", "b"), pair_lock("b", "a"), pair_lock("ab", ""), run_lock("a")}
    assert len(numbers) == 4
    assert all(-(2**63) <= number < 2**63 for number in numbers)
