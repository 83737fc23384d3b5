"""How often an address may sign in, and what a wrong token costs: with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestClient

from gateway.core.networks import Networks
from gateway.core.secrets import Secret
from gateway.core.users import Role, User
from gateway.web.door.authentication import Authentication
from gateway.web.door.door_settings import DoorSettings
from gateway.web.door.login_view import LoginView
from gateway.web.door.sessions import Sessions
from gateway.web.door.sign_in import SignIn
from tests.fakes import FakeClock
from tests.support.waiting import until

TOKEN = "a-token-of-suzuki-4711"


class Bench:
    """`/login` on a real server, behind a proxy on this host, with a page that only names its problem."""

    def __init__(self, client: TestClient[Any, Any], clock: FakeClock) -> None:
        self.client = client
        self.clock = clock

    async def try_token(self, token: str, client: str) -> tuple[int, str | None, str]:
        """Sign in from an address, and return the status, `Retry-After` and the page."""
        headers = {"X-Forwarded-For": client}
        async with self.client.post(
            "/login", data={"token": token, "next": "/"}, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Retry-After"), await answer.text()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = FakeClock()
    users = (User("suzuki", Role.READ, Secret(TOKEN)),)
    sessions = Sessions(new_id=clock.new_key, monotonic=clock.monotonic)
    authentication = Authentication(DoorSettings(users=users, proxies=Networks(["127.0.0.1"])), sessions)

    def page(request: web.BaseRequest, status: int, view: LoginView) -> web.Response:
        return web.Response(status=status, text=f"{view.problem} {view.wait_seconds}")

    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    sign_in = SignIn(authentication, sessions, clock=clock, log=log, page=page)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        answer = await sign_in.handle(request)
        assert answer is not None
        return answer

    client: TestClient[Any, Any]
    async with TestClient(RawTestServer(handle)) as client:
        yield Bench(client, clock)


async def test_a_wrong_token_is_answered_after_a_second_and_after_ten_an_address_has_to_wait(bench: Bench) -> None:
    tried = [asyncio.ensure_future(bench.try_token(f"wrong {number}", "192.0.2.1")) for number in range(10)]
    await until(lambda: len(bench.clock.sleeping) == 10)
    assert await bench.try_token("wrong", "192.0.2.1") == (429, "6", "too_many 6"), "while the others wait"
    assert await bench.try_token(TOKEN, "192.0.2.1") == (429, "6", "too_many 6"), "a right one has to wait, too"
    assert not any(one.done() for one in tried)
    bench.clock.advance(1.0)
    assert set(await asyncio.gather(*tried)) == {(401, None, "wrong 0")}
    assert await bench.try_token(TOKEN, "192.0.2.1") == (429, "5", "too_many 5")
    bench.clock.advance(5.0)
    assert (await bench.try_token(TOKEN, "192.0.2.1"))[0] == 303


async def test_other_addresses_do_not_wait_and_all_of_an_ipv6_host_are_one(bench: Bench) -> None:
    tried = [asyncio.ensure_future(bench.try_token("wrong", f"2001:db8::{number}")) for number in range(10)]
    await until(lambda: len(bench.clock.sleeping) == 10)
    assert (await bench.try_token(TOKEN, "2001:db8:0:0:ffff::1"))[0] == 429
    assert (await bench.try_token(TOKEN, "2001:db8:0:1::1"))[0] == 303
    assert (await bench.try_token(TOKEN, "192.0.2.1, 2001:db8::1"))[0] == 429, "the address that the proxy wrote counts"
    assert (await bench.try_token(TOKEN, "2001:db8::1, 192.0.2.1"))[0] == 303
    bench.clock.advance(1.0)
    await asyncio.gather(*tried)


async def test_right_tokens_cost_no_attempt_and_no_time(bench: Bench) -> None:
    assert {(await bench.try_token(TOKEN, "192.0.2.1"))[0] for _ in range(30)} == {303}
    assert bench.clock.sleeping == []
