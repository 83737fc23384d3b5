"""URLs of PostgreSQL: what they name, what of them people see, and what is wrong with those that name nothing."""

from __future__ import annotations

import pytest

from gateway.core.database_url import parse_database_url
from gateway.core.urls import UrlError

PASSWORD = "pass-8Xc4-word"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (f"postgresql://gateway:{PASSWORD}@db.example.internal/events", "postgresql://gateway@db.example.internal/events"),
        (f"postgres://gateway:{PASSWORD}@10.0.0.7:5433/events", "postgresql://gateway@10.0.0.7:5433/events"),
        (f"postgresql://g%40w:{PASSWORD}%2F%40@[fd00::7]:5433/events", "postgresql://g@w@[fd00::7]:5433/events"),
        (f"postgresql://g:{PASSWORD}@db1,db2:6432/events?target_session_attrs=any", "postgresql://g@db1,db2:6432/events"),
        ("postgresql:///events?host=/run/postgresql&user=gateway", "postgresql://gateway@/run/postgresql/events"),
        ("postgresql://%2Frun%2Fpostgresql/events", "postgresql:///run/postgresql/events"),
        (f"postgresql://db/?dbname=events&user=gateway&password={PASSWORD}", "postgresql://gateway@db/events"),
        ("postgresql:///events", "postgresql:///events"),
    ],
)
def test_people_see_user_host_and_database_alone(written: str, shown: str) -> None:
    assert str(parse_database_url(written)) == shown


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("mysql://gateway@db/events", "is not a URL of PostgreSQL"),
        ("db.example.internal/events", "is not a URL of PostgreSQL"),
        ("postgresql://gateway@db", "names no database"),
        ("postgresql://gateway@db/", "names no database"),
        ("postgresql://gateway@db/events?sslmode=yes", "has an sslmode that PostgreSQL does not know"),
        ("postgresql://gateway@db:0/events", "has a port that is not between 1 and 65535"),
        ("postgresql://gateway@db:70000/events", "has a port that is not between 1 and 65535"),
        ("postgresql://gateway@/events", None),
        ("postgresql://gateway:NEVER SHOWN@db/events", "has a space or a character beyond ASCII in it"),
        ("postgresql://gateway:NEVER#SHOWN@db/events", "has a # in it"),
        ("postgresql://gateway:NEVER@SHOWN@db/events", "has more than one @ before the database"),
        ("postgresql://gateway:NEVER/SHOWN@db/events", "has a host or a port that cannot be read"),
        ("postgresql://gateway:NEVER%SHOWN@db/events", "has a % without two hexadecimal digits after it"),
        ("postgresql://gateway:NEVER?SHOWN@db/events", "has options that are not NAME=VALUE"),
        ("postgresql://gateway:@db,/events", "has a host or a port that cannot be read"),
    ],
)
def test_what_is_wrong_is_said_without_a_part_of_the_url(written: str, wrong: str | None) -> None:
    if wrong is None:
        assert parse_database_url(written).hosts == ()
        return
    with pytest.raises(UrlError) as refused:
        parse_database_url(written)
    assert refused.value.wrong == wrong
    assert "NEVER" not in str(refused.value)
    assert "SHOWN" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "may_be_read"),
    [
        ("postgresql://db.example.internal/events", True),
        ("postgresql://db.example.internal/events?sslmode=prefer", True),
        ("postgresql://127.0.0.1,db2/events", True),
        ("postgresql://db.example.internal/events?sslmode=require", False),
        ("postgresql://db.example.internal/events?sslmode=verify-full", False),
        ("postgresql://127.0.0.1,[::1]:5433,localhost/events", False),
        ("postgresql:///events?host=/run/postgresql", False),
        ("postgresql:///events", False),
    ],
)
def test_a_connection_to_another_machine_may_be_read_on_the_way_unless_tls_is_asked_for(written: str, may_be_read: bool) -> None:
    assert parse_database_url(written).may_be_read_on_the_way is may_be_read
