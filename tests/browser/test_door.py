"""The door in a real browser: people sign in, and pages of strangers change nothing, whatever they try."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from tests.browser.visiting import Look, Visit, Visiting
from tests.support.configurations import http_sink, route
from tests.support.exchange import exchange
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.strangers import Stranger

TOKEN = "a-token-of-suzuki-4711"
USERS = '[admin.users.suzuki]\ntoken = { env = "SUZUKI" }\nrole = "operate"\n'
PAUSE = "/api/sinks/erp/pause"
ATTEMPTS = ("form", "text form", "fetch", "fetch without CORS", "fetch of JSON", "beacon")
"""The ways in which a page can make a browser send something to another origin."""


@pytest.fixture(scope="module")
def tokenless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that asks nobody on this host for a token: a page that gets through would be the operator."""
    with Receiver() as receiver:
        toml = http_sink(receiver) + route("erp")
        with Running(tmp_path_factory.mktemp("tokenless"), toml) as running, no_traceback(running):
            yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with users, also by a name that is not localhost: there, browsers send no Sec-Fetch-Site over plain HTTP."""
    head = '[admin]\nlisten = ["127.0.0.1:0"]\nhosts = ["gateway.example"]\n'
    head += 'user_header = "x-user"\ntrusted_proxies = ["127.0.0.1"]\n'
    with Receiver() as receiver:
        toml = head + USERS + http_sink(receiver) + route("erp")
        secrets = {"SUZUKI": TOKEN, "ADMIN_TOKEN": TOKEN}
        with Running(tmp_path_factory.mktemp("guarded"), toml, secrets) as running, no_traceback(running):
            yield running


def origin_of(running: Running, host: str = "127.0.0.1") -> str:
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    return f"http://{host}:{address[1]}"


async def sign_in(visit: Visit, wanted: str = "/") -> None:
    """Go to a page, be led to the page to sign in, and sign in there."""
    visit.expect(f"{visit.origin}/login?next={wanted}", 200)
    await visit.page.goto(visit.origin + wanted)
    assert visit.page.url.startswith(f"{visit.origin}/login?next=")
    await visit.page.fill("#token", TOKEN)
    await visit.page.keyboard.press("Enter")
    await visit.page.wait_for_url(visit.origin + wanted)


def trying(target: str, ways: Sequence[str] = ATTEMPTS) -> str:
    """A page that tries to pause a sink in some ways, and says when it has tried."""
    body = json.dumps({"actor": "a stranger"})
    tries = {
        "form": "send('application/x-www-form-urlencoded')",
        "text form": "send('text/plain')",
        "fetch": f"await fetch(url, {{method: 'POST', credentials: 'include', body: {body!r}}})",
        "fetch without CORS": f"await fetch(url, {{method: 'POST', mode: 'no-cors', credentials: 'include', body: {body!r}}})",
        "fetch of JSON": (
            "await fetch(url, {method: 'POST', credentials: 'include', "
            f"headers: {{'content-type': 'application/json', 'x-user': 'suzuki'}}, body: {body!r}}})"
        ),
        "beacon": f"navigator.sendBeacon(url, new Blob([{body!r}], {{type: 'text/plain'}}))",
    }
    calls = "\n".join(f"try {{ {tries[way]} }} catch (refused) {{}}" for way in ways)
    return f"""<!doctype html><title>a stranger</title><link rel="icon" href="data:,"><body><script type="module">
        const url = {json.dumps(target)}
        function send(kind) {{
            const frame = document.createElement("iframe"), form = document.createElement("form")
            frame.name = kind; form.target = kind; form.method = "post"; form.enctype = kind; form.action = url
            form.innerHTML = `<input name='{{"actor": "a stranger", "x": "' value='"}}'>`
            document.body.append(frame, form); form.submit()
            return new Promise(done => {{ frame.onload = done; setTimeout(done, 5000) }})
        }}
        {calls.replace(" send(", " await send(")}
        document.title = "tried"</script>"""


async def attempt(visit: Visit, stranger: Stranger, host: str, target: str) -> None:
    """Look at a stranger's page, in the same browser session, until it has tried everything."""
    stranger.pages["/"] = trying(target)
    await visit.page.goto(stranger.origin(host))
    await visit.page.wait_for_function("document.title == 'tried'")
    troubles = visit.take_troubles()
    sent = [one for one in troubles if one.startswith(f"left the gateway: POST {target}")]
    assert len(sent) >= len(ATTEMPTS) - 1, f"the browser has sent too little: {troubles}"


async def acts(running: Running) -> list[str]:
    """The acts in the audit log, after an act of our own that comes behind all others."""
    address = running.addresses["admin"]
    head = f"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    assert (await exchange(address, f"{head}Content-Length: 0\r\n\r\n".encode())).status == 200
    return [line["event"] for line in running.audit() if "actor" in line and line["event"] != "config.reloaded"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
async def test_a_page_on_another_port_of_this_host_or_of_another_site_changes_nothing_where_no_token_is_needed(
    visiting: Visiting, stranger: Stranger, tokenless: Running, host: str
) -> None:
    visit = await visiting.begin(stranger.origin(host))
    visit.origin = "http://nowhere.example"
    await attempt(visit, stranger, host, origin_of(tokenless) + PAUSE)
    assert await acts(tokenless) == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "gateway.example"])
async def test_a_page_of_a_stranger_changes_nothing_in_the_name_of_who_is_signed_in(
    visiting: Visiting, stranger: Stranger, guarded: Running, name: str
) -> None:
    visit = await visiting.begin(origin_of(guarded, name))
    await sign_in(visit)
    visit.origin = "http://nowhere.example"
    for host in ("127.0.0.1", "localhost", "gateway.example", "evil.example"):
        await attempt(visit, stranger, host, origin_of(guarded, name) + PAUSE)
    assert await acts(guarded) == []


async def test_a_name_that_is_made_to_point_here_opens_nothing(visiting: Visiting, tokenless: Running, guarded: Running) -> None:
    """DNS rebinding: the page of a stranger's name is served by the gateway, and its requests are of the same origin."""
    for running, path in ((tokenless, "/login"), (guarded, "/login")):
        visit = await visiting.begin(origin_of(running, "evil.example"))
        await visit.page.goto(visit.origin + path)
        answers = await visit.page.evaluate(
            """async path => {
                const headers = {"content-type": "application/json", "x-user": "suzuki", "x-forwarded-for": "127.0.0.1"}
                const post = await fetch(path, {method: "POST", headers, body: "{}"})
                const get = await fetch("/api/messages", {headers})
                return [post.status, get.status]
            }""",
            PAUSE,
        )
        assert answers == [403, 403]
        visit.take_troubles()
        assert await acts(running) == []


async def test_the_pages_own_requests_are_taken_with_and_without_sec_fetch(visiting: Visiting, guarded: Running) -> None:
    for name in ("127.0.0.1", "localhost", "gateway.example"):
        visit = await visiting.begin(origin_of(guarded, name))
        await sign_in(visit, "/sr")
        done = await visit.page.evaluate(
            """async () => {
                const headers = {"content-type": "text/plain"}
                return (await fetch("/api/reconcile/1/cancel", {method: "POST", headers})).status
            }"""
        )
        assert done == 404, "it got as far as the job that is not there"
        visit.take_troubles()
        (kept,) = await visit.context.cookies()
        assert (kept["httpOnly"], kept["sameSite"]) == (True, "Strict")
        assert await visit.page.evaluate("document.cookie") == ""
        await visit.page.click("form[action='/logout'] button")
        await visit.page.wait_for_url(f"{visit.origin}/login")
        assert await visit.context.cookies() == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
async def test_who_follows_a_link_of_another_site_need_not_sign_in_again(
    visiting: Visiting, stranger: Stranger, guarded: Running, scripts: bool
) -> None:
    visit = await visiting.begin(origin_of(guarded), Look(scripts=scripts))
    await sign_in(visit, "/sr")
    ours, visit.origin = visit.origin, "http://nowhere.example"
    stranger.pages["/"] = (
        f"""<!doctype html><title>x</title><link rel="icon" href="data:,"><a href="{ours}/sr?flag=stale">look</a>"""
    )
    await visit.page.goto(stranger.origin("evil.example"))
    await visit.page.click("a")
    await visit.page.wait_for_url(f"{ours}/sr?flag=stale")
    visit.take_troubles()
    visit = await visiting.begin(ours, Look(scripts=scripts))
    visit.origin = "http://nowhere.example"
    await visit.page.goto(stranger.origin("evil.example"))
    await visit.page.click("a")
    await visit.page.wait_for_url(f"{ours}/login?here=1&next=*")
    assert await visit.page.is_visible("#token"), "who is not signed in sees the page, and is not led in circles"
    visit.take_troubles()


async def test_no_page_of_a_stranger_can_frame_a_page(visiting: Visiting, stranger: Stranger, tokenless: Running) -> None:
    visit = await visiting.begin(stranger.origin())
    stranger.pages["/"] = f"""<!doctype html><title>x</title><iframe src="{origin_of(tokenless)}/"></iframe>"""
    await visit.page.goto(stranger.origin())
    assert any("frame-ancestors" in trouble for trouble in visit.take_troubles())
