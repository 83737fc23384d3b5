"""Files that the gateway creates are for its user, and at most its group, whatever the umask is."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event

TOML = """
[server]
listen = ["unix:in.sock"]

[admin]
listen = ["unix:admin.sock"]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"
"""


async def test_no_file_that_the_gateway_creates_is_readable_by_all_users(tmp_path: Path) -> None:
    running = Running(tmp_path, TOML + route("archive"))
    running.program = ["sh", "-c", 'umask 0 && exec "$0" -m gateway "$@"', sys.executable]
    running.stderr_file.touch()
    mine = set(tmp_path.iterdir())
    with running:
        assert (await running.post(event())).status == 200
        await until(lambda: running.audit("delivery.delivered"))
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in set(tmp_path.iterdir()) - mine}
        assert await running.stop() == 0
    private, group = dict.fromkeys(("gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"), 0o600), 0o660
    assert made == private | {
        "admin.sock": group,
        "in.sock": group,
        "audit.jsonl": 0o640,
        "events.jsonl": 0o640,
        "gateway.db.addresses": 0o640,
    }
