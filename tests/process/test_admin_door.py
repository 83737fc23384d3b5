"""Who a request to the admin listener is from: tokens, sessions, trusted proxies and the unix socket, each with its true name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, Headers, exchange
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until

ADMIN, SUZUKI, TANAKA = "a-token-of-admin-4711", "a-token-of-suzuki-4711", "a-token-of-tanaka-4711"
TOKENS = {"ADMIN_TOKEN": ADMIN, "SUZUKI": SUZUKI, "TANAKA": TANAKA}
USERS = """
[admin.users.suzuki]
token = { env = "SUZUKI" }
role = "operate"
[admin.users.tanaka]
token = { env = "TANAKA" }
role = "support"
[admin.users."sato@example.com"]
role = "operate"
"""
PROXIED = f"""[admin]
listen = ["unix:admin.sock", "127.0.0.1:0"]
token = {{ env = "ADMIN_TOKEN" }}
user_header = "x-forwarded-user"
trusted_proxies = ["127.0.0.0/30"]
hosts = ["gateway.example.com"]
{USERS}
"""
JSON = ("Content-Type", "application/json")
SAME = ("Sec-Fetch-Site", "same-origin")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
HTML = ("Accept", "text/html")
PAUSE, RESUME = "/api/sinks/erp/pause", "/api/sinks/erp/resume"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that proxies of 127.0.0.0 to 127.0.0.3 stand in front of."""
    with Receiver() as receiver:
        folder = tmp_path_factory.mktemp("door")
        with Running(folder, PROXIED + http_sink(receiver) + route("erp"), TOKENS) as running, no_traceback(running):
            yield running


async def ask(
    running: Running,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes = b"",
    *,
    host: str = "127.0.0.1",
    peer: str = "127.0.0.9",
    socket: bool = False,
) -> Answer:
    """Ask from an address of this host, by default one that no proxy has, or over the unix socket."""
    lines = "".join(f"{name}: {value!s}\r\n" for name, value in headers)
    raw = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
    if socket:
        return await exchange(running.folder / "admin.sock", raw)
    address = running.addresses["admin"]
    return await exchange(address, raw, local_addr=(peer, 0))


def token(text: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {text}"


async def sign_in(running: Running, text: str, *more: tuple[str, str], wanted: str = "/", peer: str = "127.0.0.9") -> Answer:
    body = urlencode({"token": text, "next": wanted}).encode()
    return await ask(running, "POST", "/login", [SAME, FORM, HTML, *more], body, peer=peer)


def cookie(answer: Answer) -> tuple[str, str]:
    given = answer.header("set-cookie")
    assert given is not None
    return "Cookie", given.partition(";")[0]


async def actor_of(running: Running, headers: Headers, claimed: str | None = None, *, peer: str = "127.0.0.9") -> list[object]:
    """Pause and resume a sink, and return who did it by the audit log, and who it was claimed to be."""
    body = json.dumps({"actor": claimed} if claimed else {}).encode()
    before = len(running.audit("sink.resumed"))
    for path in (PAUSE, RESUME):
        answer = await ask(running, "POST", path, headers, body, peer=peer)
        assert answer.status == 200, answer
    await until(lambda: len(running.audit("sink.resumed")) > before)
    line = running.audit("sink.resumed")[-1]
    return [line["actor"], line.get("claimed")]


async def test_every_way_in_leads_to_the_true_user_in_the_audit_log(running: Running) -> None:
    session = cookie(await sign_in(running, SUZUKI))
    assert await actor_of(running, [JSON, token(SUZUKI)]) == ["suzuki", None]
    assert await actor_of(running, [JSON, token(SUZUKI)], "root") == ["suzuki", "root"]
    assert await actor_of(running, [JSON, token(ADMIN)], "suzuki") == ["admin", "suzuki"]
    assert await actor_of(running, [JSON, SAME, session], "the boss") == ["suzuki", "the boss"]
    named = ("X-Forwarded-User", "sato@example.com")
    assert await actor_of(running, [JSON, named], "tanaka", peer="127.0.0.1") == ["sato@example.com", "tanaka"]
    reload = await ask(running, "POST", "/-/reload?actor=x", [JSON, token(SUZUKI)])
    assert reload.status == 200
    line = running.audit("config.reloaded")[-1]
    assert (line["actor"], line["claimed"]) == ("suzuki", "x")


async def test_a_token_beats_a_session_and_a_session_beats_the_header_of_a_proxy(running: Running) -> None:
    session = cookie(await sign_in(running, ADMIN))
    header = ("X-Forwarded-User", "sato@example.com")
    assert await actor_of(running, [JSON, SAME, session, token(SUZUKI), header], peer="127.0.0.1") == ["suzuki", None]
    assert await actor_of(running, [JSON, SAME, session, header], peer="127.0.0.1") == ["admin", None]
    assert await actor_of(running, [JSON, SAME, session, token("wrong"), header], peer="127.0.0.1") == ["admin", None]


async def test_the_user_header_counts_from_a_trusted_proxy_and_from_the_unix_socket_alone(running: Running) -> None:
    named = [("X-Forwarded-User", "tanaka")]
    assert (await ask(running, "GET", "/api/status", named, peer="127.0.0.1")).status == 200
    assert (await ask(running, "GET", "/api/status", named, peer="127.0.0.3")).status == 200
    assert (await ask(running, "GET", "/api/status", named, peer="127.0.0.4")).outcome == (401, "unauthorized")
    assert (await ask(running, "GET", "/api/status", named, socket=True)).status == 200
    refused = await ask(running, "POST", PAUSE, [JSON, *named], b"{}", socket=True)
    assert refused.outcome == (403, "forbidden") and b"tanaka has the role support" in refused.body
    for given in ([], [("X-Forwarded-For", "127.0.0.1")]):
        assert (await ask(running, "GET", "/api/status", given, peer="127.0.0.1")).outcome == (401, "unauthorized")


async def test_a_user_whom_only_the_proxy_knows_has_the_least_role(running: Running) -> None:
    named = [("X-Forwarded-User", "鈴木 一郎")]
    assert (await ask(running, "GET", "/api/status", named, peer="127.0.0.1")).status == 200
    refused = await ask(running, "GET", "/api/routing", named, peer="127.0.0.1")
    assert refused.outcome == (403, "forbidden") and "鈴木 一郎 has the role support" in refused.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-User", "suzuki"), ("X-Forwarded-User", "suzuki")],
        *([("X-Forwarded-User", name)] for name in ("", "suzuki, tanaka", "a" * 129, "a\u202eb", "admin", "SIGHUP", "gap")),
    ],
    ids=lambda headers: f"{len(headers)} {headers[0][1][:10]!a}",
)
async def test_a_user_header_that_comes_twice_or_names_nobody_is_refused_from_a_proxy_and_ignored_from_others(
    running: Running, headers: Headers
) -> None:
    assert (await ask(running, "GET", "/api/status", headers, peer="127.0.0.1")).outcome == (400, "bad_request")
    assert (await ask(running, "GET", "/login", headers, peer="127.0.0.1")).outcome == (400, "bad_request")
    assert (await ask(running, "GET", "/api/status", [*headers, token(TANAKA)])).status == 200
    assert (await ask(running, "GET", "/api/status", headers)).outcome == (401, "unauthorized")


async def test_a_proxy_that_runs_as_root_and_forgets_to_say_who_asks_is_not_root(running: Running) -> None:
    assert (await ask(running, "GET", "/api/status", socket=True)).status == 200
    assert (await ask(running, "POST", "/-/reload", [JSON], b"{}", socket=True)).status == 200
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via"):
        assert (await ask(running, "GET", "/api/status", [(name, "x")], socket=True)).outcome == (401, "unauthorized")


async def test_a_page_that_a_strangers_name_leads_here_cannot_name_a_user(running: Running) -> None:
    """After DNS rebinding it can send every header but Host, Origin and Sec-Fetch-Site."""
    named = [("X-Forwarded-User", "suzuki"), SAME, JSON]
    for where in ({"peer": "127.0.0.1"}, {"socket": True}):
        refused = await ask(running, "POST", PAUSE, named, b"{}", host="evil.example", **where)
        assert refused.outcome == (403, "forbidden") and b"Host" in refused.body
    assert (await ask(running, "GET", "/api/status", named, host="Gateway.example.com", peer="127.0.0.1")).status == 200
    assert (await ask(running, "GET", "/api/status", [token(TANAKA)], host="evil.example")).status == 200


async def test_behind_a_proxy_with_tls_the_origin_and_the_cookie_are_those_of_https(running: Running) -> None:
    proxied = [("X-Forwarded-Proto", "https"), ("Origin", "https://gateway.example.com"), FORM]
    body = urlencode({"token": SUZUKI}).encode()

    async def post(headers: Headers, peer: str = "127.0.0.1") -> Answer:
        return await ask(running, "POST", "/login", headers, body, host="gateway.example.com", peer=peer)

    answer = await post(proxied)
    assert answer.status == 303
    assert re.fullmatch(
        r"__Host-gateway-session=[0-9a-f]{64}; HttpOnly; Max-Age=43200; Path=/; SameSite=Strict; Secure",
        answer.header("set-cookie") or "",
    )
    named = cookie(answer)
    asked = [named, ("X-Forwarded-Proto", "https")]
    assert (await ask(running, "GET", "/api/status", asked, host="gateway.example.com", peer="127.0.0.1")).status == 200
    assert (await ask(running, "GET", "/api/status", [named], host="gateway.example.com", peer="127.0.0.1")).status == 401
    assert (await post(proxied[1:])).outcome == (403, "forbidden"), "the proxy did not say https"
    assert (await post(proxied, peer="127.0.0.9")).outcome == (403, "forbidden"), "nobody trusts who says it"
    assert (await post([proxied[0], *proxied])).outcome == (403, "forbidden")


async def test_a_session_is_a_random_cookie_that_scripts_and_other_sites_never_get(running: Running) -> None:
    first, second = [await sign_in(running, SUZUKI) for _ in range(2)]
    assert (first.status, first.header("location")) == (303, "/")
    form = r"gateway-session=([0-9a-f]{64}); HttpOnly; Max-Age=43200; Path=/; SameSite=Strict"
    ids = [re.fullmatch(form, answer.header("set-cookie") or "") for answer in (first, second)]
    assert all(ids) and ids[0] is not None and ids[1] is not None and ids[0][1] != ids[1][1]
    assert first.header("cache-control") == "no-store"
    for headers, status in (([cookie(first)], 200), ([("Cookie", f"gateway-session={'0' * 64}")], 401), ([("Cookie", "x")], 401)):
        assert (await ask(running, "GET", "/api/status", headers)).status == status
    named = [("Cookie", cookie(first)[1].replace("gateway-session", "gateway-session-8081"))]
    assert (await ask(running, "GET", "/api/status", named, host="localhost:8081")).status == 200
    assert (await ask(running, "GET", "/api/status", [cookie(first)], host="localhost:8081")).status == 401


async def test_a_new_session_ends_the_one_before_and_signing_out_ends_it(running: Running) -> None:
    first = cookie(await sign_in(running, SUZUKI))
    second = cookie(await sign_in(running, SUZUKI, first))
    assert (await ask(running, "GET", "/api/status", [first])).status == 401
    assert (await ask(running, "POST", "/logout", [second])).status == 403, "another site may sign nobody out"
    out = await ask(running, "POST", "/logout", [second, SAME])
    assert (out.status, out.header("location")) == (303, "/login")
    assert "gateway-session=" in (out.header("set-cookie") or "") and "Max-Age=0" in (out.header("set-cookie") or "")
    assert (await ask(running, "GET", "/api/status", [second])).status == 401
    assert (await ask(running, "GET", "/logout", [second])).outcome == (405, "method_not_allowed")


async def test_a_browser_without_a_session_is_led_to_the_page_and_from_there_where_it_wanted(running: Running) -> None:
    led = await ask(running, "GET", "/sr/x?since=1&b=%2F", [HTML])
    assert (led.status, led.header("location")) == (303, "/login?next=%2Fsr%2Fx%3Fsince%3D1%26b%3D%252F")
    page = await ask(running, "GET", led.header("location") or "", [HTML])
    assert page.status == 200 and b'value="&#x2f;sr&#x2f;x?since=1&amp;b=%2F"' in page.body
    assert "require-trusted-types-for" in (page.header("content-security-policy") or "")
    back = await sign_in(running, TANAKA, wanted="/sr/x?since=1&b=%2F")
    assert back.header("location") == "/sr/x?since=1&b=%2F"
    again = await ask(running, "GET", "/login?next=%2Fsr", [HTML, cookie(back)])
    assert (again.status, again.header("location")) == (303, "/sr"), "who is signed in need not do it again"
    posted = await ask(running, "POST", "/sr/x", [HTML, SAME, FORM])
    assert posted.header("location") == "/login?ended=1", "a form is not sent again"


@pytest.mark.parametrize("path", ["/api/status", "/-/ready", "/metrics", "/overview.json", "/sr.json", "/api/x"])
async def test_a_program_gets_401_and_no_page(running: Running, path: str) -> None:
    assert (await ask(running, "GET", path, [HTML])).outcome == (401, "unauthorized")
    assert (await ask(running, "GET", "/", [("Accept", "*/*")])).outcome == (401, "unauthorized")


@pytest.mark.parametrize(
    "wanted",
    [
        *("//evil.example", "/\\evil.example", "https://evil.example", "evil.example", "javascript:alert(1)", "/\t/evil.example"),
        *("/\r\nX: y", "\\\\evil.example", "/é", "/login", "/logout", "/" + "a" * 2000, " /", "/a\\b"),
    ],
)
async def test_nobody_is_led_away_from_here(running: Running, wanted: str) -> None:
    assert (await sign_in(running, TANAKA, wanted=wanted)).header("location") == "/"
    shown = await ask(running, "GET", f"/login?{urlencode({'next': wanted})}", [HTML])
    assert b'name="next" value="&#x2f;">' in shown.body


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([SAME], b"token=x"),
        ([SAME, JSON], b'{"token": "x"}'),
        ([SAME, ("Content-Type", "multipart/form-data; boundary=x")], b"--x--"),
        ([SAME, FORM], b"token=x&token=y"),
        ([SAME, FORM], b"tokne=x"),
        ([SAME, FORM], b"token=%ff"),
        ([SAME, FORM], b"a=1&" * 200),
        ([SAME, FORM], b"token=" + b"x" * 70_000),
    ],
)
async def test_what_is_not_the_form_of_the_page_is_refused(running: Running, headers: Headers, body: bytes) -> None:
    answer = await ask(running, "POST", "/login", headers, body)
    assert answer.outcome == (400, "bad_request")


async def test_a_wrong_token_costs_a_second_and_a_line_in_the_log_without_it(running: Running) -> None:
    answer = await sign_in(running, "wrong-token-4711", ("X-Forwarded-For", "2001:db8::1"), peer="127.0.0.1")
    assert answer.status == 401 and answer.seconds >= 1.0
    assert b'role="alert"' in answer.body and b"wrong-token" not in answer.body
    (line,) = [line for line in running.stderr().splitlines() if '"login.failed"' in line]
    assert '"address": "2001:db8::/64"' in line and "wrong-token" not in running.stderr()


async def test_a_reload_ends_the_sessions_of_those_who_left_or_have_another_token_or_role(tmp_path: Path) -> None:
    names = {"admin": ADMIN, "suzuki": SUZUKI, "tanaka": TANAKA}
    for name in ("suzuki-token", "tanaka-token"):
        (tmp_path / name).write_text(names[name.partition("-")[0]])
    users = USERS.replace('env = "SUZUKI"', 'file = "suzuki-token"').replace('env = "TANAKA"', 'file = "tanaka-token"')
    users = users[: users.index('[admin.users."sato')]
    head = '[admin]\nlisten = ["127.0.0.1:0"]\ntoken = { env = "ADMIN_TOKEN" }\n'
    rest = "[[routes]]\nsinks = []\n"
    with Running(tmp_path, head + users + rest, TOKENS) as running, no_traceback(running):
        sessions = {name: cookie(await sign_in(running, text)) for name, text in names.items()}

        async def reloaded(toml: str) -> list[str]:
            """Reload, and return whose sessions are left."""
            running.write_config(toml)
            assert (await ask(running, "POST", "/-/reload", [JSON, token(ADMIN)], b"{}")).status == 200
            found = {name: await ask(running, "GET", "/api/status", [held]) for name, held in sessions.items()}
            return [name for name, answer in found.items() if answer.status == 200]

        assert await reloaded(head + users + rest) == ["admin", "suzuki", "tanaka"]
        assert await reloaded(head + users.replace("support", "read") + rest) == ["admin", "suzuki"]
        (tmp_path / "suzuki-token").write_text("another-token-of-suzuki-4711")
        assert await reloaded(head + users + rest) == ["admin"]
        assert (await ask(running, "GET", "/api/status", [token(SUZUKI)])).status == 401
        sessions = {"suzuki": cookie(await sign_in(running, "another-token-of-suzuki-4711"))}
        assert await reloaded(head + rest) == []
        assert "added [admin.users.suzuki]" not in running.stderr() and "removed [admin.users.suzuki]" in running.stderr()


async def test_where_no_user_has_a_token_the_page_says_that_a_proxy_knows_who_asks(tmp_path: Path) -> None:
    toml = '[admin]\nlisten = ["127.0.0.1:0"]\nuser_header = "x-user"\ntrusted_proxies = ["127.0.0.1"]\n[[routes]]\nsinks = []\n'
    running = Running(tmp_path, toml)
    running.launch()
    try:
        await until(running.is_listening)
        page = await ask(running, "GET", "/login", [HTML, ("Accept-Language", "ja")])
        assert page.status == 200 and b"<form" not in page.body and "プロキシ" in page.body.decode()
        assert (await ask(running, "GET", "/api/status")).status == 401, "nobody is taken for admin where a proxy names users"
        assert (await ask(running, "GET", "/api/status", [("X-User", "ann")], peer="127.0.0.1")).status == 200
    finally:
        running.kill()


async def test_without_users_this_host_is_admin_as_it_always_was(tmp_path: Path) -> None:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        assert await actor_of(running, [JSON], "ann") == ["admin", "ann"]
        assert (await ask(running, "GET", "/", [HTML])).status == 200
