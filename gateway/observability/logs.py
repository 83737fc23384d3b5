"""The log, for rare events. No call of it raises or waits, whatever it is given and wherever its lines go.

A line that cannot be made or written is dropped and counted (`host/line_writer`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO, cast

from gateway.host.absent import absent
from gateway.host.line_writer import LineWriter

with absent("rich"):  # structlog would import it to draw tracebacks, which the gateway shows plain: 5 MB in each process
    import structlog

Log = structlog.typing.FilteringBoundLogger
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""The syslog priorities of the levels, as sd-daemon(3) writes them before a line."""
_LONGEST = 8 * 1024
"""Characters of one field as JSON writes it; a character that is not ASCII takes six or twelve.

journald splits a line of more than 48 KiB into several records (journald.conf(5), LineMax=).
"""
_AS_JSON = structlog.processors.JSONRenderer(ensure_ascii=True)


def set_up_logging(writer: LineWriter | None = None, journal: str | None = None) -> Log:
    """Write the log as JSON lines to stderr, or as coloured lines to a terminal. Return the logger that is passed on.

    Args:
        writer: takes the finished lines; None means stderr.
        journal: `$JOURNAL_STREAM`. If it names stderr, each line begins with its priority, and has no time: the journal adds one.

    Tracebacks come without local variables, which could hold secrets. JSON is the only renderer that escapes line breaks, ESC and
    bidirectional marks, so nothing that a stranger sent can draw on a terminal or forge a line.
    """
    out = writer or LineWriter(sys.stderr)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    processors: list[structlog.typing.Processor]
    if _is_terminal(out.stream):
        processors = [stamp, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    elif is_journal(out.stream, journal):
        processors = [structlog.processors.format_exc_info, _journal_line]
    else:
        processors = [stamp, structlog.processors.format_exc_info, _AS_JSON]
    chain = [_without_none, structlog.processors.add_log_level, *processors]

    def note(lost: int) -> str:
        fields: Any = {"event": "log.lost", "lines": lost}
        for processor in chain:
            fields = processor(None, "warning", fields)
        return str(fields)

    out.note = note
    structlog.configure(
        processors=chain,
        wrapper_class=_HarmlessLogger,
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    log: Log = structlog.get_logger()
    return log


class _Lines:
    """The methods that structlog calls with a finished line: one per level, all the same."""

    def __init__(self, writer: LineWriter) -> None:
        self.writer = writer

    def put(self, line: str) -> None:
        self.writer.put(line)

    debug = info = warning = error = critical = put


class _HarmlessLogger(structlog.make_filtering_bound_logger(logging.INFO)):  # type: ignore[misc]
    """structlog's logger, made unable to raise: a value that cannot be shown is left out, and its name is listed."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *args: Any, **fields: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *args, **fields)
        except Exception:
            lines = cast(_Lines, self._logger)
            try:
                told = {name: value for name, value in fields.items() if type(value) in (str, float)}
                left_out = sorted(fields.keys() - told.keys())
                return super()._proxy_to_logger(method_name, str(event), **told, left_out=left_out)
            except Exception:
                lines.writer.lost()
                return None


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def _without_none(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Leave out the fields that do not apply."""
    return {name: value for name, value in fields.items() if value is not None}


class KnownReason(Exception):
    """A server error whose reason may be logged, because the gateway or OpenSSL wrote it, and not a peer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_journal(stream: TextIO | None, journal: str | None) -> bool:
    """Return True if a stream is the one that `$JOURNAL_STREAM` names (systemd.exec(5)). Child processes inherit the variable."""
    if stream is None:
        return False
    try:
        state = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal == f"{state.st_dev}:{state.st_ino}"


class Sparing:
    """Logs one event about one subject at most once in `every` seconds, with the number of those left out before (`more`).

    It is for events that may come with each request or delivery. The metrics count them; a line shows an example.
    """

    def __init__(self, log: Log, monotonic: Callable[[], float], every: float = 60.0) -> None:
        self._log = log
        self._monotonic = monotonic
        self._every = every
        self._last: dict[tuple[str, str | None], float] = {}
        self._held: dict[tuple[str, str | None], int] = {}

    def say(self, how: Literal["exception", "warning"], event: str, about: str | None = None, **ids: object) -> None:
        """Log an event, unless it was logged recently.

        Args:
            about: the subject, a name in the configuration, so that there are never many.
        """
        key, now = (event, about), self._monotonic()
        if now - self._last.get(key, -self._every) < self._every:
            self._held[key] = self._held.get(key, 0) + 1
            return
        self._last[key] = now
        getattr(self._log, how)(event, **ids, more=self._held.pop(key, 0))


class RateLimited(logging.Handler):
    """aiohttp's server logger, made harmless: one short line per kind of error in `every` seconds, without a peer's bytes."""

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


def _journal_line(_: object, method: str, record: structlog.typing.EventDict) -> str:
    for name, value in record.items():
        text = value if isinstance(value, str) else repr(value)
        # A traceback says at its end what happened.
        if (short := _shortened(text, from_its_end=name == "exception")) != text:
            record[name] = short
    return f"<{_PRIORITIES.get(record['level'], 6)}>{_AS_JSON(None, method, record)!s}"


def _shortened(text: str, *, from_its_end: bool) -> str:
    kept = text
    while (size := len(json.dumps(kept))) > _LONGEST:
        keep = len(kept) * _LONGEST // size
        kept = kept[-keep:] if from_its_end else kept[:keep]
    if kept == text:
        return text
    return f"... {kept}" if from_its_end else f"{kept} ..."
