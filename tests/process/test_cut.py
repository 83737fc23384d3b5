"""A stop that reaches its deadline cuts attempts without cost, and still reports what commits meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.sabotaged import Sabotaged
from tests.support.waiting import until
from tests.support.webhooks import event

_SLOW_DISK = """
import sys, time
from pathlib import Path
from gateway.cli import main
from gateway.store.sqlite import accept_settle

whole = accept_settle.settle

def settle(connection, batch, changes):
    done = whole(connection, batch, changes)
    if batch:
        Path("settling").touch()
        time.sleep(1.5)
    return done

accept_settle.settle = settle
sys.argv[1:] = ["serve", "--config", "gateway.toml"]
main()
"""
_TOML = """
[server]
listen = ["127.0.0.1:0"]
drain = "300ms"
[sinks.log]
type = "jsonl"
path = "events.jsonl"
[sinks.hung]
type = "http"
on_stale = "annotate"
url = "http://127.0.0.1:{port}/"
"""


async def test_a_commit_that_ends_after_the_drain_still_has_its_audit_line(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        running: Running = Sabotaged(tmp_path, _TOML.format(port=port) + route("log", "hung"), _SLOW_DISK)
        with running:
            assert (await running.post(event())).status == 200
            await until((tmp_path / "settling").exists)
            running.terminate()
            assert await running.exit_code() == 0
            assert "gateway.cut" in running.stderr()
            assert running.rows("SELECT sink, state FROM deliveries ORDER BY sink") == [("hung", "queued"), ("log", "delivered")]
            assert [line["sink"] for line in running.audit("delivery.delivered")] == ["log"]
            assert running.database.with_name("gateway.db.lock").read_bytes().strip() == b"clean"
