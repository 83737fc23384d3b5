"""[Evidence] on the pages: the download is the file that the command writes, is proven offline, and is refused in clear words."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core.evidence_file import MOST_MESSAGES
from gateway.core.users import Role
from gateway.web.pages.catalogue import LOCALES, catalogue
from tests.cli.backups import ARCHIVED, SINK, admin
from tests.cli.running import gateway as command
from tests.support.browser_forms import SECRETS, TOKENS, USERS
from tests.support.configurations import route
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import SECRET, event, new_id, signed

ITEM = "ITEM-7001"
SR = "b16c763b-0000-4000-8000-000000007001"
NOTE = "a-note-that-only-bodies-have"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


class Said(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def click(running: Running, path: str, token: str | None = None, **headers: str) -> Said:
    """Send the form of the button, as a browser does, and read the answer to its end."""
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    allowed = {"Authorization": f"Bearer {token}"} if token is not None else {}
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
        connection.request("POST", path, "", {**FORM, **allowed, **headers})
        answer = connection.getresponse()
        return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that has delivered two events of one service request, one of them twice, and an event of another."""
    with Running(tmp_path_factory.mktemp("standing"), USERS + ARCHIVED, SECRETS) as running, no_traceback(running):
        asyncio.run(_post(running))
        yield running


async def _post(running: Running) -> None:
    first = event(SR, reference_id=ITEM, note=NOTE)
    second = event(SR, reference_id=ITEM, note=NOTE, state={"primary": "UNDERWAY", "supplement": None})
    sender_id = new_id()
    for body, identifier in ((first, sender_id), (first, sender_id), (second, new_id()), (event(), new_id())):
        assert (await running.post(body, signed(body, identifier))).status == 200
    await until(lambda: len(running.audit("delivery.delivered")) == 3)


def read(running: Running, path: str) -> bytes:
    said = click(running, path, TOKENS["read"])
    assert said.status == 200, said
    return said.body


def verified(data: bytes, folder: Path, *options: str) -> tuple[int, str]:
    (folder / "item.jsonl").write_bytes(data)
    done = command("evidence", "verify", "item.jsonl", *options, cwd=folder, variables={"SECRET": SECRET})
    return done.status, done.out


def records(data: bytes) -> list[dict[str, object]]:
    """The records of a file, without what differs between two exports: the chain, the instant, and the seals at the end."""
    found = [json.loads(line) for line in data.splitlines()]
    for one in found:
        one.pop("chain")
        one.pop("made_at", None)
    return [one for one in found if one["record"] not in ("seal", "end")]


def test_the_download_is_proven_offline_by_the_file_alone(standing: Running, tmp_path: Path) -> None:
    data = read(standing, f"/sr/{SR}")
    status, out = verified(data, tmp_path, "--secret", "env:SECRET", "--json")
    document = json.loads(out)
    assert (status, document["sound"], document["asked"], document["unproven"]) == (0, True, SR, [])
    assert [one["lines"] for one in document["messages"]] == [3, 2], "accepted, duplicate, delivered; accepted, delivered"


def test_the_download_has_what_the_command_writes(standing: Running, tmp_path: Path) -> None:
    said = click(standing, f"/sr/{SR}", TOKENS["read"])
    file = tmp_path / "by-command.jsonl"
    variables = {"GATEWAY_ADMIN_TOKEN": TOKENS["read"], **standing.secrets}
    done = command("evidence", "export", SR, file, "--admin", admin(standing), cwd=standing.folder, variables=variables)
    assert done.status == 0, done.err
    assert records(said.body) == records(file.read_bytes())
    assert said.headers["content-disposition"] == f'attachment; filename="{ITEM}.evidence.jsonl"'
    assert (said.headers["content-type"], said.headers["cache-control"]) == ("application/octet-stream", "no-store")


def test_the_download_of_a_message_is_about_that_one_alone(standing: Running, tmp_path: Path) -> None:
    message_id = standing.audit("message.accepted")[0]["message_id"]
    data = read(standing, f"/messages/{message_id}")
    status, out = verified(data, tmp_path, "--json")
    assert (status, [one["message_id"] for one in json.loads(out)["messages"]]) == (0, [message_id])


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_flipped_byte_of_the_download_is_found(standing: Running, tmp_path: Path, place: float) -> None:
    data = bytearray(read(standing, f"/sr/{SR}"))
    data[int(len(data) * place)] ^= 1
    status, out = verified(bytes(data), tmp_path)
    assert status == 1 and "NOT SOUND" in out


@pytest.mark.parametrize("role", Role)
def test_only_roles_that_see_bodies_see_the_button_and_get_the_file(standing: Running, role: Role) -> None:
    message_id = standing.audit("message.accepted")[0]["message_id"]
    may = role.includes(Role.READ)
    for path in (f"/sr/{SR}", f"/messages/{message_id}"):
        said = click(standing, path, TOKENS[role])
        assert (said.status, NOTE.encode() in said.body) == ((200, True) if may else (403, False))
        shown = _page(standing, path, TOKENS[role])
        assert (f'method="post" action="{path}"' in shown) is may


def _page(running: Running, path: str, token: str) -> str:
    answer = asyncio.run(running.admin(path, [("Authorization", f"Bearer {token}"), ("Accept", "text/html")]))
    assert answer.status == 200
    return answer.body.decode()


def test_another_site_begins_no_file(standing: Running) -> None:
    assert click(standing, f"/sr/{SR}", TOKENS["read"], **{"Sec-Fetch-Site": "cross-site"}).status == 403


@pytest.mark.parametrize("language", LOCALES)
def test_what_is_not_there_is_answered_in_the_language_of_the_reader(standing: Running, language: str) -> None:
    (texts,) = (catalogue(locale) for locale in LOCALES if locale == language)
    for path in ("/sr/nobody", f"/sr/{SR[:8]}", "/messages/nobody"):
        said = click(standing, f"{path}?lang={language}", TOKENS["read"])
        name = path.rpartition("/")[2]
        assert said.status == 404 and texts.text("problem.not_there", detail=name) in said.body.decode()


def refused(running: Running, why: str, status: int, **values: str) -> None:
    for language in LOCALES:
        said = click(running, f"/sr/{SR}?lang={language}")
        assert said.status == status and catalogue(language).text(f"problem.{why}", **values) in said.body.decode()


async def test_a_log_that_is_gone_or_cannot_be_read_is_named_and_one_that_breaks_off_gives_no_whole_file(tmp_path: Path) -> None:
    with Running(tmp_path, ARCHIVED) as running, no_traceback(running):
        await running.post(event(SR))
        await until(lambda: running.audit("delivery.delivered"))
        old = running.audit_file.rename(tmp_path / "audit.jsonl.1")
        running.audit_file.write_text('{"v":1,"time":"2199-01-01T00:00:00.000Z","event":"gateway.started"}\n', encoding="utf-8")
        kept = old.read_bytes()
        old.unlink()
        await asyncio.to_thread(refused, running, "log_gone", 404)
        packed = tmp_path / "audit.jsonl.1.gz"
        packed.write_bytes(b"no gzip")
        await asyncio.to_thread(refused, running, "log_unreadable", 503)
        packed.write_bytes(gzip.compress(kept)[:-20])
        with pytest.raises(http.client.IncompleteRead) as broken:
            await asyncio.to_thread(click, running, f"/sr/{SR}")
        assert b'"record":"message"' in broken.value.partial and b'"record":"end"' not in broken.value.partial
        assert "evidence.broken_off" in running.stderr()
        packed.write_bytes(gzip.compress(kept))
        said = await asyncio.to_thread(click, running, f"/sr/{SR}")
        assert said.status == 200 and b'"record":"line"' in said.body


async def test_more_messages_than_a_file_holds_are_refused_with_the_number(tmp_path: Path) -> None:
    with Running(tmp_path, SINK + route("archive")) as running, no_traceback(running):
        for begin in range(0, MOST_MESSAGES + 1, 77):
            bodies = [event(SR, timestamp=_instant(number)) for number in range(begin, begin + 77)]
            await asyncio.gather(*(running.post(body) for body in bodies))
        await asyncio.to_thread(refused, running, "too_many_messages", 409, detail=f"{MOST_MESSAGES:,}")


async def test_two_files_are_made_at_a_time_and_a_browser_that_goes_leaves_its_place(tmp_path: Path) -> None:
    with Running(tmp_path, ARCHIVED) as running, no_traceback(running), ExitStack() as browsers:
        await _large(running)
        slow = [browsers.enter_context(_begun(running)) for _ in range(2)]
        await asyncio.to_thread(refused, running, "evidence_busy", 503, detail="2")
        assert (await running.post(event())).status == 200, "senders do not notice"
        slow[0].close()
        await until(lambda: click(running, f"/sr/{SR}").status == 200)


async def test_a_stop_does_not_wait_for_a_file_and_what_was_sent_is_not_taken_for_whole(tmp_path: Path) -> None:
    toml = f'[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n{ARCHIVED}'
    with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
        await _large(running)
        with _begun(running) as browser:
            running.terminate()
            data = await asyncio.to_thread(_rest, browser)
            assert await running.exit_code() == 0
        assert b'"record":"end"' not in data and not data.endswith(b"0\r\n\r\n")


async def _large(running: Running) -> None:
    """Make a request whose file is larger than what the sockets between the gateway and a browser hold."""
    for number in range(80):
        await running.post(event(SR, timestamp=_instant(number), note="x" * 200_000))


def _instant(number: int) -> str:
    """An instant that no other event of the request has: two with one instant and one state are the same event."""
    return f"2026-03-01T{number // 60:02}:{number % 60:02}:00.000Z"


def _begun(running: Running) -> socket.socket:
    """A browser that reads the beginning of a file, and then nothing for a while."""
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    browser = socket.socket()
    browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    browser.settimeout(PATIENCE)
    browser.connect(address)
    browser.sendall(request_bytes(b"", list(FORM.items()), path=f"/sr/{SR}"))
    assert browser.recv(20).startswith(b"HTTP/1.1 200")
    return browser


def _rest(browser: socket.socket) -> bytes:
    data = bytearray()
    try:
        while block := browser.recv(1 << 20):
            data += block
    except ConnectionResetError:
        pass
    return bytes(data)
