"""Gateways for the pages to show: one that went through a lot, one to which nothing has come, and one whose store fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web

from gateway.cli.demo.story import BAG, story
from gateway.core.users import Role
from gateway.host.clock import Clock
from gateway.web.pages.live_streams import PLAY_LIVE_PATH
from tests.browser.hostile import ANSWER, HOSTILE
from tests.support.exchange import exchange, request_bytes
from tests.support.fake_legitmark import KEY
from tests.support.following import following
from tests.support.gateway_process import Running
from tests.support.locked_database import locked
from tests.support.receivers import Mailbox, Receiver
from tests.support.sabotaged import Sabotaged
from tests.support.waiting import until_answer
from tests.support.webhooks import SECRET, event, new_id, signed

ONLY_IN_BODIES = "a-note-4711"
"""A text that each event of the story has in its body, and nowhere else."""
NOT_FOUND = '{"error": "OrderNotFound"}'
NOWHERE: Final = {
    "sr_uuid": "00000000-0000-4000-8000-000000000000",
    "id": "0" * 32,
    "name": "nobody",
    "beginning": "00000000",
    "number": "0",
}
"""The same for things that are not there."""
TOKENS: Final = {role.value: f"a-token-for-{role.value}-4711" for role in Role}
"""The token of the user who has each role."""
_USERS = "".join(f'[admin.users.{role}]\ntoken = {{ env = "{role.upper()}_TOKEN" }}\nrole = "{role}"\n' for role in TOKENS)
_ITEMS = (BAG, "SNK-88213-EU42")
_SLACK = "/services/T0/B0/tests-only"
_CONFIG = """
[server]
listen = ["127.0.0.1:0"]

[admin]
listen = ["127.0.0.1:0"]

[sources.legitmark]
secrets = [{{ env = "LEGITMARK" }}]

[sources.partner]
path = "/webhooks/partner"
verify = "none"

[reconcile]
url = "http://127.0.0.1:{http}/api/v2/sr"
api_key = {{ env = "API_KEY" }}

[sinks.erp]
type = "http"
url = "http://127.0.0.1:{http}/erp"
secret = {{ env = "ERP" }}
retry = ["0s", "1s", "1s", "5s", "30s"]
on_stale = "annotate"

[sinks.fraud_desk]
type = "slack"
webhook_url = {{ env = "SLACK" }}

[sinks.customer_care]
type = "email"
host = "127.0.0.1"
port = {smtp}
security = "none"
sender = "Legitmark gateway <gateway@example.com>"
recipients = ["care@example.com"]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[sinks.warehouse]
type = "http"
url = "http://127.0.0.1:{http}/warehouse"
retry = ["0s"]
on_stale = "annotate"
breaker = {{ failures = 1000, probe = "30s" }}

[sinks.loyalty]
type = "http"
url = "http://127.0.0.1:{http}/loyalty"
on_stale = "annotate"
breaker = {{ failures = 1, probe = "10m" }}

[sinks.desk]
type = "jsonl"
path = "desk.jsonl"

[[routes]]
name = "everything of Legitmark"
source = "legitmark"
unless = {{ event_type = {{ prefix = "nobody" }} }}
sinks = ["archive"]

[[routes]]
name = "steps"
match = {{ event_type = ["state_change", "media_rejected"] }}
sinks = ["erp", "desk"]

[[routes]]
name = "photos to redo"
match = {{ milestone = ["qc_rejected", "needs_resubmission"] }}
join = "20s"
sinks = ["customer_care"]

[[routes]]
name = "verdicts"
match = {{ milestone = ["authentic", "counterfeit"] }}
sinks = ["customer_care", "warehouse", "loyalty"]

[[routes]]
name = "counterfeits"
match = {{ state = {{ primary = "COMPLETE", supplement = "REJECTED" }} }}
sinks = ["fraud_desk"]

[[watch]]
name = "QC longer than 4 h"
state = "QC/PENDING"
after = "4h"
"""
SMALL = """
[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
sinks = ["archive"]
"""
_FAILING_READS = """
import sys
from pathlib import Path
from gateway.cli import main
from gateway.core.errors import StoreError
from gateway.store.sqlite.reading import Reading

ask = Reading.ask

async def fails(self, function):
    if Path("fails").exists():
        raise StoreError("another process has locked the database; only the gateway may write to it")
    return await ask(self, function)

Reading.ask = fails
sys.argv[1:] = ["serve", "--config", "gateway.toml"]
main()
"""
"""A gateway whose questions to the database fail as soon as a file `fails` lies in its folder. A lock stops no reader."""


class Systems(Receiver):
    """The systems of a partner: an ERP that fails on demand, a warehouse that knows no order, and a service that is down."""

    def __init__(self) -> None:
        super().__init__()
        self.failures_left = 0
        """How many further callbacks the ERP answers with 500."""
        self.orders_are_known = False
        """The warehouse has been mended."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = await super().answer(request)
        if request.path == "/erp" and self.failures_left:
            self.failures_left -= 1
            return web.Response(status=500, text="the pool of connections is exhausted")
        if request.path == "/warehouse" and not self.orders_are_known:
            hostile = b"canary" in self.requests[-1].body
            return web.Response(status=500, text=ANSWER if hostile else NOT_FOUND)
        if request.path == "/loyalty":
            return web.Response(status=503, text="down for maintenance")
        return answer


class Told(NamedTuple):
    """A running gateway that has gone through a story, and names of what is in it."""

    running: Running
    systems: Systems
    bag: str
    """The uuid of the service request with the longest story; its reference is `BAG`."""
    shoes: str
    """The uuid of a service request that the warehouse was not told about."""
    message: str
    """The id of a message about the shoes, which the warehouse refused."""
    hostile: dict[str, str]
    """The message ids of the hostile bodies, by their names."""
    caught: dict[str, str]
    """The numbers of the requests that the page of requests keeps, by the message ids that they were given."""

    @property
    def names(self) -> dict[str, str]:
        """The texts for the words in braces that addresses of pages have."""
        return {"sr_uuid": self.bag, "id": self.message, "name": "warehouse", "beginning": self.bag[:6], "number": self.number}

    @property
    def number(self) -> str:
        """The number of the request that brought `message`."""
        return self.caught[self.message]

    @property
    def origin(self) -> str:
        return origin_of(self.running)


def origin_of(running: Running) -> str:
    """Return scheme, host and port of the admin listener."""
    address = running.addresses["admin"]
    assert isinstance(address, tuple), "a browser needs a listener on TCP"
    return f"http://{address[0]}:{address[1]}"


@asynccontextmanager
async def told(folder: Path, smtp_port: int, *, hostile: bool = True, users: bool = False) -> AsyncIterator[Told]:
    """Run a gateway, tell it the story of the demo, and wait until all that can be delivered is.

    Beside the story, a warehouse has refused deliveries, a sink is paused, one has an open breaker, and messages are late,
    unrouted, quarantined and refused. Somebody follows the page of requests all the time.

    Args:
        smtp_port: a free port, for the mail server.
        hostile: send the hostile bodies, too.
        users: nobody is let in without a token; there is a user for each role, who has its name and the token of `TOKENS`.
    """
    with Systems() as systems, Mailbox(smtp_port):
        toml = _CONFIG.format(http=systems.port, smtp=smtp_port) + (_USERS if users else "")
        secrets = {
            "API_KEY": KEY,
            "ERP": SECRET,
            "SLACK": systems.url(_SLACK),
            **({"ADMIN_TOKEN": TOKENS["operate"]} if users else {}),
        }
        secrets |= {f"{role.upper()}_TOKEN": token for role, token in TOKENS.items()}
        with Running(folder, toml, secrets) as running:
            async with following(running, PLAY_LIVE_PATH, _authorized(running)):
                yield await _tell(running, systems, HOSTILE if hostile else {})


async def _tell(running: Running, systems: Systems, hostile: Mapping[str, bytes]) -> Told:
    await act(running, "sinks/desk/pause")
    steps = story(Clock())
    message_id = ""
    for step in steps:
        systems.failures_left = step.failures
        message_id = message_id if step.kind == "repeated" else new_id()
        body = json.dumps({**step.event, "note": ONLY_IN_BODIES}, ensure_ascii=False).encode()
        headers = signed(b"something else" if step.kind == "forged" else body, message_id)
        await running.post(body, headers)
    await running.post(event("sr-nobody", event_type="nobody_wants_it", reference_id="ITEM-UNROUTED"))
    await running.post(event("sr-future", reference_id="ITEM-FUTURE", timestamp="2199-01-01T00:00:00.000Z"))
    await running.post(event("sr-undated", reference_id="ITEM-UNDATED", timestamp="yesterday"))
    ids = {}
    for name, body in hostile.items():
        answer = await running.post(body)
        assert answer.status == 200, f"{name}: {answer}"
        ids[name] = answer.json()["id"]
    await settled(running)
    bag, shoes = (next(step.event["sr_uuid"] for step in steps if step.event["reference_id"] == name) for name in _ITEMS)
    (refused,) = [one for one in await deliveries(running, state="dead") if one["sr_uuid"] == shoes]
    return Told(running, systems, bag, shoes, refused["message_id"], ids, await caught(running))


@asynccontextmanager
async def failing(folder: Path) -> AsyncIterator[Running]:
    """Run a gateway that took a few events; since then it can neither write to its database nor answer questions about it."""
    with Sabotaged(folder, SMALL, _FAILING_READS) as running:
        for _ in range(3):
            assert (await running.post(event())).status == 200
        (folder / "fails").touch()
        with locked(running.database):
            assert (await running.post(event())).status == 503
            yield running


async def act(running: Running, path: str, **body: Any) -> dict[str, Any]:
    """Ask the gateway's API to do something, as the commands do. Fails if it does not."""
    headers = [("Content-Type", "application/json"), *_authorized(running)]
    request = request_bytes(json.dumps(body).encode(), headers, path=f"/api/{path}")
    answer = await exchange(running.addresses["admin"], request)
    assert answer.status == 200, answer
    return dict(answer.json())


async def caught(running: Running) -> dict[str, str]:
    """Return the numbers of the newest requests that were kept, by the ids of their messages."""
    rows = (await running.admin("/play.json", _authorized(running))).json()["requests"]
    return {row["message_id"]: str(row["number"]) for row in rows if row["message_id"] is not None}


async def deliveries(running: Running, **conditions: str) -> list[dict[str, Any]]:
    """Return the newest deliveries that meet some conditions, as the API has them."""
    query = "&".join(f"{name}={value}" for name, value in {"limit": 500, **conditions}.items())
    return list((await running.admin(f"/api/deliveries?{query}", _authorized(running))).json()["deliveries"])


def _authorized(running: Running) -> list[tuple[str, str]]:
    token = running.secrets.get("ADMIN_TOKEN")
    return [("Authorization", f"Bearer {token}")] if token else []


async def settled(running: Running) -> None:
    """Wait until no delivery is open that nothing holds back."""
    held = ("desk", "loyalty", "customer_care")

    def done(found: list[dict[str, Any]]) -> bool:
        return all(one["sink"] in held for one in found)

    await until_answer(lambda: deliveries(running, state="queued"), done)
