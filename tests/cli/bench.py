"""A gateway to try commands on: its messages, and the documents that `replay` and `discard` print."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, signed


class Bench:
    """A gateway that runs, the receiver of its sink, and the commands that ask it."""

    def __init__(self, running: Running, receiver: Receiver) -> None:
        self.running, self.receiver = running, receiver

    @property
    def admin(self) -> str:
        host, port = self.running.addresses["admin"]  # type: ignore[misc]
        return f"{host}:{port}"

    def run(self, *arguments: str) -> Result:
        """Run a command that asks this gateway."""
        return command(*arguments, "--admin", self.admin, cwd=self.running.folder)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with --json, and return its lines as documents."""
        result = self.run(*arguments, "--json")
        assert result.status == 0, result.err
        return [json.loads(line) for line in result.out.splitlines()]

    def states(self) -> list[str]:
        """Return the states of all deliveries, by message."""
        return [state for (state,) in self.running.rows("SELECT state FROM deliveries ORDER BY message")]

    def post(self, *messages: tuple[str, str, str]) -> None:
        """Post messages, each given by service request, sender's id and reference, and wait until each is delivered or dead."""
        for sr, sender, reference in messages:
            asyncio.run(self.settle(event(sr, reference_id=reference), sender))

    async def settle(self, body: bytes, sender: str) -> None:
        """Post a body, and wait until no delivery is queued."""
        assert (await self.running.post(body, signed(body, sender))).status == 200
        query = "SELECT count(*) FROM deliveries WHERE state = 'queued'"
        await until(lambda: self.running.rows(query) == [(0,)], 20)


def replayed(count: int, changed: int, **kinds: int) -> dict[str, int]:
    """Return the document that a replay prints with --json."""
    return {"count": count, "changed": changed, "dead": 0, "delivered": 0, "new": 0, **kinds}


def discarded(count: int, changed: int) -> dict[str, int]:
    """Return the document that a discard of dead deliveries prints with --json."""
    return {"count": count, "changed": changed, "queued": 0, "dead": count}
