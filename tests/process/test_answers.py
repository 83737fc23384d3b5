"""The answer of a sink to a failed attempt is shown by `gateway show`, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.cli.running import gateway as command
from tests.sinks.http_server import HttpServer, answer
from tests.support.gateway_process import Running
from tests.support.waiting import until

TOML = """
[sinks.erp]
type = "http"
on_stale = "annotate"
url = "{url}"
bearer = {{ env = "TOKEN" }}
retry = ["0s", "0s"]
reject_on = [422]

[[routes]]
sinks = ["erp"]
"""
TOKEN = "token-9Zk1-never-shown"
SAID = "no item\x1b[31m BAG-1 in\n our books"


async def test_the_answer_of_a_sink_is_shown_with_its_attempt_and_nowhere_else(tmp_path: Path) -> None:
    answers = iter([answer(500, f"who is {TOKEN}?".encode()), answer(422, SAID.encode())])
    async with HttpServer(lambda _: next(answers)) as server:
        with Running(tmp_path, TOML.format(url=server.url), {"TOKEN": TOKEN}) as gateway:
            accepted = (await gateway.post(b'{"reference_id":"BAG-1"}')).json()
            await until(lambda: gateway.audit("delivery.dead"))
            address = gateway.addresses["admin"]
            assert isinstance(address, tuple)
            options = ("show", accepted["id"], "--admin", f"{address[0]}:{address[1]}")
            shown = await asyncio.to_thread(command, *options, cwd=tmp_path)
            document = await asyncio.to_thread(command, *options, "--json", cwd=tmp_path)
            metrics = (await gateway.admin("/metrics")).body.decode()
            await gateway.stop()
    lines = [line.strip() for line in shown.out.splitlines()]
    assert "answered: no item [31m BAG-1 in our books" in lines
    assert "answered: (it repeats a secret, and is not shown)" in lines
    (message,) = json.loads(document.out)
    attempts = message["deliveries"][0]["attempts"]
    assert [attempt["answer"] for attempt in attempts] == [
        "(it repeats a secret, and is not shown)",
        "no item [31m BAG-1 in our books",
    ]
    elsewhere = gateway.audit_file.read_text() + gateway.stderr() + metrics
    assert "in our books" not in elsewhere
    assert TOKEN not in elsewhere + shown.out + document.out + "".join(str(row) for row in gateway.rows("SELECT * FROM attempts"))
