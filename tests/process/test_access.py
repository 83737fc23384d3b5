"""`allow_from` in a real gateway: the address that connects counts, or the one that a trusted proxy names."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Certified
from tests.support.exchange import Answer, exchange, read_answer, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event, signed

ROUTES = "[[routes]]\nsinks = []\n"
ALLOWED = "127.0.0.2"
"""All of 127.0.0.0/8 is this host, so a test can come from several addresses."""


def toml(allowed: str = f'"{ALLOWED}"', proxies: str = "", listen: str = '"127.0.0.1:0"', more: str = "") -> str:
    return (
        f"[server]\nlisten = [{listen}]\ntrusted_proxies = [{proxies}]\n{more}\n"
        f'[sources.legitmark]\nsecrets = [{{ env = "LEGITMARK" }}]\nallow_from = [{allowed}]\n'
        f'[sources.open]\nsecrets = [{{ env = "LEGITMARK" }}]\n{ROUTES}'
    )


async def post(running: Running, source: str, *forwarded: str, path: str = "/webhooks/legitmark", **options: Any) -> Answer:
    body = event()
    headers = [*signed(body), *(("X-Forwarded-For", line) for line in forwarded)]
    return await running.post(body, headers, path=path, local_addr=(source, 0), **options)


async def test_senders_that_are_not_allowed_are_refused_and_the_answer_names_their_address(tmp_path: Path) -> None:
    with Running(tmp_path, toml()) as running, no_traceback(running):
        assert (await post(running, ALLOWED)).outcome == (200, "accepted")
        refused = await post(running, "127.0.0.3")
        assert refused.outcome == (403, "forbidden") and refused.json()["detail"] == "127.0.0.3 may not send here"
        assert (await post(running, "127.0.0.3", ALLOWED)).outcome == (403, "forbidden"), "a header of theirs counts for nothing"
        assert (await post(running, "127.0.0.3", path="/webhooks/open")).outcome == (200, "accepted"), "not asked for here"
        assert (await post(running, "127.0.0.3", path="/webhooks/none")).outcome == (404, "not_found")
        (line,) = running.audit("message.rejected", reason="forbidden")
        assert (line["source"], line["detail"]) == ("legitmark", "127.0.0.3 is not in allow_from")
        assert "message_id" not in line and set(line) == {"v", "time", "event", "source", "reason", "detail"}
        metrics = (await running.admin("/metrics")).body.decode()
        assert 'legitmark_gateway_rejections_total{reason="forbidden",source="legitmark"} 2.0' in metrics


async def test_the_first_of_many_refusals_is_a_line_with_its_address_and_the_others_are_counted(tmp_path: Path) -> None:
    with Running(tmp_path, toml()) as running:
        for last in range(10, 20):
            await post(running, f"127.0.0.{last}", "198.51.100.7")
        await running.stop()
        first, *others = running.audit("message.rejected", reason="forbidden")
        assert first["detail"] == (
            "127.0.0.10 is not in allow_from; its X-Forwarded-For does not count, since it is not in [server] trusted_proxies"
        )
        assert [(line["count"], line["detail"]) for line in others] == [(9, "the address is not in allow_from")]


async def test_the_check_of_the_address_comes_after_the_path_and_before_everything_else(tmp_path: Path) -> None:
    with Running(tmp_path, toml()) as running:
        for raw in (
            request_bytes(b"", method="GET", path="/webhooks/legitmark"),
            request_bytes(b"x", [("Content-Encoding", "gzip")], path="/webhooks/legitmark"),
            request_bytes(b"x" * 300_000, path="/webhooks/legitmark"),
            request_bytes(b"{}", path="/webhooks/legitmark"),
        ):
            assert (await running.send(raw, local_addr=("127.0.0.3", 0))).outcome == (403, "forbidden")
        raw = request_bytes(b"", method="GET", path="/webhooks/legitmark")
        assert (await running.send(raw, local_addr=(ALLOWED, 0))).outcome == (405, "method_not_allowed")


async def test_behind_a_trusted_proxy_the_client_counts_and_forged_entries_before_it_do_not(tmp_path: Path) -> None:
    allowed = '"203.0.113.0/24", "2001:db8::/32"'
    with Running(tmp_path, toml(allowed, '"127.0.0.9", "10.0.0.0/8"')) as running:
        for forwarded, status in (
            (["203.0.113.5"], 200),
            (["203.0.113.5, 10.1.1.1"], 200),
            (["203.0.113.5:4711"], 200),
            (["::ffff:203.0.113.5"], 200),
            (["[2001:db8::5]:4711"], 200),
            (["198.51.100.1", "203.0.113.5"], 200),
            (["203.0.113.5", "198.51.100.1"], 403),
            (["203.0.113.5, 198.51.100.1"], 403),
            (["203.0.113.5, nonsense"], 403),
            (["nonsense"], 403),
            ([""], 403),
            ([], 403),
        ):
            assert (await post(running, "127.0.0.9", *forwarded)).status == status, forwarded
        assert (await post(running, "127.0.0.8", "203.0.113.5")).json()["detail"] == "this address may not send here", (
            "a proxy that nobody named has an address that is no stranger's business"
        )
        answer = await post(running, "127.0.0.9", "198.51.100.1")
        assert answer.json()["detail"] == "198.51.100.1 may not send here"


async def test_an_entry_that_is_not_an_address_is_refused_even_if_the_proxy_itself_may_send(tmp_path: Path) -> None:
    """The walk must not end at the proxy, whose own address stands in allow_from."""
    with Running(tmp_path, toml('"127.0.0.9", "10.1.1.1"', '"127.0.0.9", "10.0.0.0/8"')) as running, no_traceback(running):
        for forwarded in (["unknown"], [""], ["_hidden, 10.1.1.1"], ["10.1.1.1", ""], ["10.1.1.1,"], ["1.2.3.4:x, 127.0.0.9"]):
            answer = await post(running, "127.0.0.9", *forwarded)
            assert (answer.outcome, answer.json()["detail"]) == ((403, "forbidden"), "an unknown address may not send here")
        await until(lambda: running.audit("message.rejected"))
        assert running.audit("message.rejected")[0]["detail"] == (
            "an unknown address is not in allow_from: the proxy 127.0.0.9 sent an X-Forwarded-For that does not name the address"
            " of its client; see what it sets"
        )
        assert (await post(running, "127.0.0.9")).status == 200, "without the header it is the sender"
        body = event()
        headers = [*signed(body), ("Forwarded", "for=198.51.100.1")]
        assert (await running.post(body, headers, local_addr=("127.0.0.9", 0))).status == 200, "another header is not read"


ONE_LINE: list[str | bytes] = [
    *("unknown", "", " ", ",", ",,,", "unix", "unix:", "-", "null", "localhost", "10.1.1.1, unknown", "10.1.1.1:", "10.1.1.1:-1"),
    *(
        "10.1.1.1:65536",
        "[10.1.1.1]",
        "[10.1.1.1]:80",
        "10.1.1.1]",
        "[10.1.1.1",
        "10.1.1.01",
        "0xa.1.1.1",
        "167837953",
        "10.1.257",
    ),
    *("10.1.1.1/32", "10.1.1.1%eth0", "::ffff:10.1.1.1]:80", '"10.1.1.1"', "for=10.1.1.1", "10.1.1.1;proto=https"),
    *("10.1.1.1 10.0.0.1", "10.1.1.1, 198.51.100.1", "10.1.1.1\t\t,\t198.51.100.1\t", "," * 7900, "[" * 7900),
    *("10.1.1.1," + "127.0.0.9," * 700 + "127.0.0.9", b"10.1.1.1\xff", b"10.1.1.1\xc2\xa0", b"\xd9\xa1\xd9\xa0.1.1.1"),
]
HOSTILE: list[Sequence[str | bytes]] = [
    *[[line] for line in ONE_LINE],
    ["10.1.1.1", "198.51.100.1"],
    ["10.1.1.1", ""],
    ["10.1.1.1, 127.0.0.9", "unknown", "127.0.0.9"],
    ["10.1.1.1", "10.1.1.1", "10.1.1.1", "198.51.100.1:443"],
    ["10.1.1.1", *["127.0.0.9"] * 40],
]
"""Lines of X-Forwarded-For that name no client that may send, although 10.1.1.1 and the proxy itself may."""


async def test_a_forwarded_header_of_an_untrusted_client_does_not_let_it_send(tmp_path: Path) -> None:
    with Running(tmp_path, toml('"127.0.0.9", "10.1.1.1"', '"127.0.0.9"')) as running, no_traceback(running):
        body = event()
        for lines in HOSTILE:
            headers: list[tuple[str, str | bytes]] = [*signed(body), *(("X-Forwarded-For", line) for line in lines)]
            answer = await running.post(body, headers, local_addr=("127.0.0.9", 0))
            assert answer.outcome == (403, "forbidden"), lines
        for broken in ("10.1.1.1" * 20_000, "10.1.1.1\r", "10.1.1.1\0"):
            answer = await running.post(body, [*signed(body), ("X-Forwarded-For", broken)], local_addr=("127.0.0.9", 0))
            assert answer.outcome == (400, "bad_request"), broken[:20]
        for good in ("10.1.1.1", "198.51.100.1, 10.1.1.1", "unknown, 10.1.1.1:443", "::ffff:10.1.1.1", "[::ffff:10.1.1.1]:80"):
            assert (await post(running, "127.0.0.9", good)).status == 200, good


async def test_a_client_of_a_unix_socket_has_no_address_even_if_its_socket_is_named_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Running(tmp_path, toml('"203.0.113.0/24"', listen='"unix:hooks.sock"')) as running:
        (tmp_path / "client").mkdir()
        monkeypatch.chdir(tmp_path / "client")
        with socket.socket(socket.AF_UNIX) as named:
            named.bind("203.0.113.5")
            named.setblocking(False)
            await asyncio.get_running_loop().sock_connect(named, str(running.addresses["webhooks"]))
            reader, writer = await asyncio.open_unix_connection(sock=named)
            body = event()
            writer.write(request_bytes(body, signed(body)))
            answer = await read_answer(reader, 0.0)
            writer.close()
            await writer.wait_closed()
        assert answer.json()["detail"] == "a client of the unix socket may not send here"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_proxy_may_come_through_a_unix_socket(trusted: bool, tmp_path: Path) -> None:
    settings = toml('"203.0.113.0/24"', '"unix"' if trusted else "", '"unix:hooks.sock", "127.0.0.1:0"')
    with Running(tmp_path, settings) as running:
        for forwarded, status in (("203.0.113.5", 200 if trusted else 403), ("198.51.100.1", 403)):
            body = event()
            raw = request_bytes(body, [*signed(body), ("X-Forwarded-For", forwarded)], path="/webhooks/legitmark")
            assert (await exchange(tmp_path / "hooks.sock", raw)).status == status
            assert (await running.send(raw)).status == 403, "unix says nothing of those who come over TCP"
        body = event()
        answer = await exchange(tmp_path / "hooks.sock", request_bytes(body, signed(body), path="/webhooks/legitmark"))
        assert answer.json()["detail"] == "a client of the unix socket may not send here"


async def test_allow_from_applies_over_tls_too(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    certified.issue()
    with Running(tmp_path, toml(proxies='"127.0.0.9"', more=certified.toml)) as running:
        assert (await post(running, ALLOWED, **certified.options)).status == 200
        assert (await post(running, "127.0.0.3", **certified.options)).json()["detail"] == "127.0.0.3 may not send here"
        assert (await post(running, "127.0.0.9", ALLOWED, **certified.options)).status == 200


async def test_a_reload_changes_who_may_send_and_who_is_trusted_on_open_connections_too(tmp_path: Path) -> None:
    with Running(tmp_path, toml()) as running:
        host, port = running.addresses["webhooks"]  # type: ignore[misc]
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.3", 0))

        async def ask() -> int:
            body = event()
            writer.write(request_bytes(body, [*signed(body), ("X-Forwarded-For", "203.0.113.5")], path="/webhooks/legitmark"))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            json.loads(await reader.readexactly(length))
            return int(head.split()[1])

        assert await ask() == 403
        for settings, status in (
            (toml('"127.0.0.3"'), 200),
            (toml('"203.0.113.0/24"'), 403),
            (toml('"203.0.113.0/24"', '"127.0.0.3"'), 200),
            (toml('"203.0.113.0/33"', '"127.0.0.3"'), 200),
        ):
            running.write_config(settings)
            answer = await running.admin("/-/reload", method="POST")
            assert answer.status == (422 if "/33" in settings else 200)
            assert await ask() == status
        writer.close()
        await writer.wait_closed()
