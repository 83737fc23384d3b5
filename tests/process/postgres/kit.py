"""A gateway whose tables are in a PostgreSQL, and questions to that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.store.kit import rows
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.postgres_server import PostgresPlace
from tests.support.receivers import Receiver

PASSWORD = "pass-8Xc4-word"
"""A password that no output may show. The server of the tests does not ask for one."""


class OnPostgres(Running):
    """A gateway with one HTTP sink, `erp`, and its tables in a schema of the test's own."""

    def __init__(self, folder: Path, place: PostgresPlace, receiver: Receiver, *, node: str = "gw1", more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.place = place
        store = f'[store]\nurl = {{ env = "DATABASE_URL" }}\nschema = "{place.schema}"\n[node]\nname = "{node}"\nlease = "5s"\n'
        secrets = {"DATABASE_URL": place.url.replace("@", f":{PASSWORD}@")}
        super().__init__(folder, store + http_sink(receiver, more=more) + route("erp"), secrets)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Query the schema; a `?` stands for a value."""
        return rows(self.place, sql, *values)

    def states(self) -> dict[str, int]:
        """The number of deliveries by state."""
        return dict(self.rows("SELECT state, count(*) FROM deliveries GROUP BY state"))

    def ask(self, *arguments: str, status: int = 0) -> Result:
        """Run a command of this gateway, which has to end with a status and may show no password."""
        done = command(*arguments, "--config", self.config, cwd=self.folder, variables=self.secrets)
        assert done.status == status, done
        assert PASSWORD not in done.out + done.err
        return done

    def document(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.ask(*arguments, "--json").out)


def delivered(receiver: Receiver) -> Mapping[str, int]:
    """How often each message arrived, by its idempotency key."""
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    return {key: keys.count(key) for key in keys}
