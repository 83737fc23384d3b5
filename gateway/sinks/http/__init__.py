"""The `http` sink type: an internal callback, which gets the body byte for byte as it came.

`request` builds the request, for the sink and for the preview.
"""

from gateway.sinks.base import SinkType
from gateway.sinks.http.check import check, check_secrets
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.http.preview import preview
from gateway.sinks.http.probe import probe
from gateway.sinks.http.sink import HttpSink
from gateway.sinks.net.trust import read_authorities

TYPE = SinkType(
    config=HttpConfig,
    open=HttpSink,
    check=check,
    check_secrets=check_secrets,
    probe=probe,
    preview=preview,
    destination=("url",),
    reads={"ca": read_authorities},
    schema={
        "url": {"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
        "proxy": {"pattern": "^[Hh][Tt][Tt][Pp]://[^@]*$"},
        "reject_on": {"items": {"type": "integer", "minimum": 300, "maximum": 599}},
    },
)
