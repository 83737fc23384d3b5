"""Commands in the name of a user: the token of the person's environment, what a role lacks, and what the audit log says."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterator

import pytest

from tests.cli.running import gateway
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, signed

TOKENS = {"ADMIN_TOKEN": "a-token-of-admin-4711", "SUZUKI": "a-token-of-suzuki-4711", "TANAKA": "a-token-of-tanaka-4711"}
TOML = """[admin]
listen = ["127.0.0.1:0"]
token = { env = "ADMIN_TOKEN" }
[admin.users.suzuki]
token = { env = "SUZUKI" }
role = "operate"
[admin.users.tanaka]
token = { env = "TANAKA" }
role = "support"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Receiver() as receiver:
        folder = tmp_path_factory.mktemp("users")
        with Running(folder, TOML + http_sink(receiver) + route("erp"), TOKENS) as running, no_traceback(running):
            yield running


def as_user(running: Running, name: str | None, *arguments: str) -> tuple[int, str, str]:
    variables = {"ADMIN_TOKEN": TOKENS["ADMIN_TOKEN"]} | ({} if name is None else {"GATEWAY_ADMIN_TOKEN": TOKENS.get(name, name)})
    done = gateway(*arguments, cwd=running.folder, variables=variables)
    return done.status, done.out, done.err


async def test_the_token_of_the_environment_says_who_acts_and_the_shells_user_is_a_claim(running: Running) -> None:
    for act in ("pause", "resume"):
        status, _, err = await asyncio.to_thread(as_user, running, "SUZUKI", act, "erp")
        assert status == 0, err
    await until(lambda: running.audit("sink.resumed"))
    for line in running.audit("sink.paused") + running.audit("sink.resumed"):
        assert (line["actor"], line["claimed"]) == ("suzuki", getpass.getuser())


async def test_the_token_of_the_environment_comes_before_that_of_the_configuration(running: Running) -> None:
    status, _, err = await asyncio.to_thread(as_user, running, "TANAKA", "reload")
    assert status == 1 and "this needs the role operate, and tanaka has the role support" in err


async def test_a_token_that_no_user_has_and_a_missing_one_say_where_to_put_it(running: Running) -> None:
    status, _, err = await asyncio.to_thread(as_user, running, "a-token-of-nobody-4711", "status")
    assert status == 2 and "put yours into $GATEWAY_ADMIN_TOKEN" in err and "a-token-of-nobody" not in err


async def test_support_sees_a_message_without_its_body_and_routes_no_stored_one(running: Running) -> None:
    body = event(note="only for those who may read")
    await running.post(body, signed(body))
    await until(lambda: running.audit("delivery.delivered"))
    message_id = running.audit("message.accepted")[0]["message_id"]
    status, out, err = await asyncio.to_thread(as_user, running, "TANAKA", "show", message_id)
    assert status == 0 and "erp: delivered" in out and "only for those" not in out, err
    assert "the body is not for your role: the role read sees it" in out
    status, out, _ = await asyncio.to_thread(as_user, running, "SUZUKI", "show", message_id)
    assert status == 0 and "only for those who may read" in out
    status, out, err = await asyncio.to_thread(as_user, running, "TANAKA", "route", message_id)
    assert status == 2 and "is not for your role" in err and "only for those" not in out + err
    status, _, err = await asyncio.to_thread(as_user, running, "TANAKA", "sr", "BAG-1", "--payload")
    assert status == 1 and "this needs the role read" in err
    status, _, err = await asyncio.to_thread(as_user, running, "TANAKA", "sr", "BAG-1")
    assert status == 0, err


async def test_without_a_token_of_their_own_commands_are_those_of_admin(running: Running) -> None:
    status, _, err = await asyncio.to_thread(as_user, running, None, "pause", "erp")
    assert status == 0, err
    await until(lambda: running.audit("sink.paused", actor="admin"))
    assert (await asyncio.to_thread(as_user, running, None, "resume", "erp"))[0] == 0
