"""Logs, for rare events."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO

import structlog

Log = structlog.typing.FilteringBoundLogger


def set_up_logging(stream: TextIO = sys.stderr) -> Log:
    """JSON lines to stderr, or coloured ones where it is a terminal; returns the logger that is passed on.

    Tracebacks come without local variables: they would hold secrets. JSON is the only renderer that escapes line breaks,
    ESC and bidirectional marks, so nothing that a stranger sent can draw on a terminal or forge a line.
    """
    readable = stream.isatty()
    plain_traceback = structlog.dev.plain_traceback
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=True)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    log: Log = structlog.get_logger()
    return log


class KnownReason(Exception):
    """An error of the server whose reason may be logged: it is a word of ours or of OpenSSL's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RateLimited(logging.Handler):
    """aiohttp's server logger, made harmless: one short line a kind in `every` seconds, no traceback, no bytes of a peer."""

    def __init__(self, log: Log, monotonic: Callable[[], float], every: float = 10.0) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._monotonic = monotonic
        self._every = every
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        kind = type(error).__name__ if error else "server"
        now = self._monotonic()
        if now - self._last.get(kind, -self._every) < self._every:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._last[kind] = now
        reason = {"reason": error.reason} if isinstance(error, KnownReason) else {}
        self._log.warning("server.bad_request", kind=kind, **reason, more=self._held.pop(kind, 0))
