"""Small parts of the door that need no server: sessions, failed logins, and the headers of pages."""

from __future__ import annotations

from itertools import count

import pytest

from gateway.core.secrets import Secret
from gateway.core.users import Role, User
from gateway.web.door.failed_logins import FailedLogins
from gateway.web.door.sessions import SESSION_SECONDS, Sessions
from gateway.web.pages.page_headers import PAGE_HEADERS
from tests.fakes import FakeClock

ANN = User("ann", Role.READ, Secret("token-of-ann-4711"))
BOB = User("bob", Role.OPERATE, Secret("token-of-bob-4711"))


def sessions(clock: FakeClock) -> Sessions:
    numbers = count(1)
    return Sessions(new_id=lambda: f"session {next(numbers)}", monotonic=clock.monotonic)


def test_a_session_ends_after_twelve_hours_whatever_the_wall_clock_says() -> None:
    clock = FakeClock()
    kept = sessions(clock)
    made = kept.begin(ANN)
    clock.jump(-86400.0)
    clock.advance(SESSION_SECONDS - 1)
    assert kept.user(made) is ANN
    clock.jump(-86400.0)
    clock.advance(1)
    assert kept.user(made) is None
    kept.begin(ANN)
    assert len(kept) == 1, "one that has ended takes no memory"


def test_a_session_ends_when_it_is_asked_to_and_no_other_does() -> None:
    kept = sessions(FakeClock())
    one, other = kept.begin(ANN), kept.begin(ANN)
    kept.end(one)
    kept.end("never was")
    assert (kept.user(one), kept.user(other), kept.user("")) == (None, ANN, None)


def test_the_sessions_of_a_user_are_bounded_and_those_of_others_stay() -> None:
    kept = sessions(FakeClock())
    of_bob = kept.begin(BOB)
    of_ann = [kept.begin(ANN) for _ in range(100)]
    assert len(kept) == 33 and kept.user(of_bob) is BOB
    assert [kept.user(one) is ANN for one in of_ann] == [False] * 68 + [True] * 32


@pytest.mark.parametrize(
    ("now", "stays"),
    [
        ([BOB, ANN], True),
        ([User("ann", Role.READ, Secret("token-of-ann-4711"))], True),
        ([BOB], False),
        ([User("ann", Role.SUPPORT, ANN.token)], False),
        ([User("ann", Role.READ, Secret("another-token-of-ann"))], False),
        ([User("ann", Role.READ, None)], False),
    ],
)
def test_a_session_stays_only_while_its_user_has_the_same_token_and_role(now: list[User], stays: bool) -> None:
    kept = sessions(FakeClock())
    made = kept.begin(ANN)
    kept.keep(now)
    assert (kept.user(made) is not None) is stays


def test_an_address_has_ten_attempts_and_then_one_every_six_seconds() -> None:
    clock = FakeClock()
    failed = FailedLogins(clock.monotonic)
    assert [failed.begin("192.0.2.1") for _ in range(12)] == [0.0] * 10 + [6.0, 6.0]
    assert failed.begin("192.0.2.2") == 0.0
    clock.advance(5.0)
    assert failed.begin("192.0.2.1") == pytest.approx(1.0)
    clock.advance(1.0)
    assert [failed.begin("192.0.2.1") for _ in range(2)] == [0.0, 6.0]
    clock.advance(3600.0)
    assert [failed.begin("192.0.2.1") for _ in range(11)] == [0.0] * 10 + [6.0]


def test_good_logins_cost_no_attempt() -> None:
    failed = FailedLogins(FakeClock().monotonic)
    for _ in range(1000):
        assert failed.begin("unix") == 0.0
        failed.succeeded("unix")
    assert len(failed) == 0


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    failed = FailedLogins(FakeClock().monotonic)
    for number in range(10_000):
        failed.begin(f"address {number}")
    assert len(failed) == 4096


def test_a_page_has_the_headers_of_the_design() -> None:
    assert dict(PAGE_HEADERS) == {
        "Server": "legitmark-gateway",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
