"""Counting what a page costs PostgreSQL: the rows that its plans looked at, as the server's own `auto_explain` tells them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self

from gateway.store.postgres.connection import Connection

_SETTINGS = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "client_min_messages": "log",
}


class Costs:
    """Keeps the plan of every statement of a connection, with the rows that each step of it looked at."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = 0
        """Statements whose plan was told."""
        self._rows = 0
        self._dearest = 0
        self.dearest = ""
        """The plan of the statement that looked at most rows."""
        self.most = 0
        """Rows of the page that looked at most of them."""
        self.used: set[str] = set()
        """The indexes that were used."""
        self.walked: set[str] = set()
        """The tables that were read from end to end."""

    @classmethod
    async def of(cls, connection: Connection) -> Self:
        """Begin to watch a connection of a superuser."""
        costs = cls(connection)
        await connection.execute("LOAD 'auto_explain'")
        for name, value in _SETTINGS.items():
            await connection.execute(f"SET {name} = '{value}'")
        connection.add_log_listener(costs.heard)
        return costs

    async def page(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        self._rows = 0
        answer = await ask()
        await self._connection.fetchval("SELECT 1")  # its answer comes behind every plan of the page
        self.most = max(self.most, self._rows)
        return answer

    def heard(self, _: Any, message: Any) -> None:
        """Take a message of the server."""
        text = str(message.message)
        if "plan:" in text:
            told = json.loads(text.split("plan:", 1)[1])
            if "typeinfo_tree" in told["Query Text"]:
                return  # the driver asks once for each type that it meets first
            rows = sum(map(self._rows_of, _steps(told["Plan"])))
            self._rows += rows
            self.statements += 1
            if rows > self._dearest:
                self._dearest, self.dearest = rows, text

    def _rows_of(self, step: dict[str, Any]) -> int:
        if "Scan" not in step["Node Type"] or "Relation Name" not in step:
            return 0
        removed = step.get("Rows Removed by Filter", 0) + step.get("Rows Removed by Index Recheck", 0)
        rows = int((step["Actual Rows"] + removed) * step["Actual Loops"])
        if "Index Name" in step:
            self.used.add(step["Index Name"])
        if step["Node Type"] == "Seq Scan" and rows > 0:
            self.walked.add(step["Relation Name"])
        return rows


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)
