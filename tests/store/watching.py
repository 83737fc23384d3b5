"""Counting what a query costs SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

STEPS = 1000
"""Instructions of SQLite's virtual machine between two calls of the progress handler."""
MOST_STEPS = 60
"""The most such calls in a page. A walk through all deliveries costs more than ten times as many; the last test shows it."""


class Watch:
    """Counts the steps of SQLite's virtual machine for each page, and keeps the text of every query."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._steps = 0
        self.most = 0
        self.asked: set[str] = set()

    def page(self, ask: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        self._steps = 0
        self._reader.set_progress_handler(self._step, STEPS)
        self._reader.set_trace_callback(lambda text: self.asked.add(text))
        try:
            return ask()
        finally:
            self._reader.set_progress_handler(None, 0)
            self._reader.set_trace_callback(None)
            self.most = max(self.most, self._steps)

    def whole(self, ask: Callable[[Any], tuple[list[Any], Any]], after: Any) -> list[Any]:
        """The rows of all pages, one page after the other."""
        found: list[Any] = []
        for _ in range(2000):
            rows, after = self.page(lambda: ask(after))  # noqa: B023 - it is called at once
            found += rows
            if after is None:
                return found
        raise AssertionError("the pages have no end")

    def check(self) -> None:
        assert self.most <= MOST_STEPS
        for text in self.asked:
            if text.startswith(("SELECT", "WITH")):
                plan = self.plan(text)
                walked = [step for step in plan if re.match(r"SCAN (messages|deliveries|attempts|conflicts|m|d)\b", step)]
                assert walked == [], f"{plan} for {text}"

    def plan(self, text: str) -> list[str]:
        """The steps of SQLite's plan for a query; none for other statements."""
        if not text.startswith(("SELECT", "WITH")):
            return []
        return [str(row[3]) for row in self._reader.execute(f"EXPLAIN QUERY PLAN {text}")]

    def _step(self) -> int:
        self._steps += 1
        return 0

    def uses(self, index: str) -> bool:
        plans = (self._reader.execute(f"EXPLAIN QUERY PLAN {text}").fetchall() for text in self.asked)
        return any(re.search(rf"INDEX {index}\b", row[3]) for plan in plans for row in plan)
