"""The `jsonl` sink type: one line of JSON per delivery, appended to a file."""

from gateway.sinks.base import SinkType
from gateway.sinks.jsonl.check import check
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.jsonl.preview import preview
from gateway.sinks.jsonl.probe import probe
from gateway.sinks.jsonl.sink import JsonlSink

TYPE = SinkType(
    config=JsonlConfig,
    open=JsonlSink,
    check=check,
    probe=probe,
    preview=preview,
    destination=("path",),
    writes=("path",),
)
