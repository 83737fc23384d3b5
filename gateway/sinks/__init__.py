"""The only outbound I/O. The union below is the registry: a new sink is one file and two lines here."""

from __future__ import annotations

from typing import assert_never

from gateway.core.errors import SinkSetupError
from gateway.sinks.base import Opening, Sink
from gateway.sinks.email.sink import EmailConfig, EmailSink
from gateway.sinks.http.sink import HttpConfig, HttpSink
from gateway.sinks.jsonl.sink import JsonlConfig, JsonlSink
from gateway.sinks.slack.sink import SlackConfig, SlackSink

__all__ = ["SINK_TYPES", "EmailConfig", "HttpConfig", "JsonlConfig", "SinkConfig", "SlackConfig", "open_sink"]

SinkConfig = HttpConfig | SlackConfig | EmailConfig | JsonlConfig
SINK_TYPES: dict[str, type[SinkConfig]] = {"http": HttpConfig, "slack": SlackConfig, "email": EmailConfig, "jsonl": JsonlConfig}


def open_sink(config: SinkConfig, opening: Opening) -> Sink:
    """Build a sink, connecting to nothing yet. Raises SinkSetupError, with what to do."""
    try:
        match config:
            case HttpConfig():
                return HttpSink(config, opening)
            case SlackConfig():
                return SlackSink(config, opening)
            case EmailConfig():
                return EmailSink(config, opening)
            case JsonlConfig():
                return JsonlSink(config, opening)
            case _:
                assert_never(config)
    except ValueError as error:
        raise SinkSetupError(f"[sinks.{opening.name}]: {error}") from error
