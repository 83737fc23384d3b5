"""The `email` sink type: a mail with text and HTML, sent by SMTP."""

from gateway.sinks.base import SinkType
from gateway.sinks.email.check import check
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.preview import preview
from gateway.sinks.email.probe import probe
from gateway.sinks.email.sink import EmailSink
from gateway.sinks.text.templates import read_template

TYPE = SinkType(
    config=EmailConfig,
    open=EmailSink,
    check=check,
    probe=probe,
    preview=preview,
    destination=("host", "port", "recipients"),
    reads={"template": read_template},
    schema={
        "port": {"minimum": 1, "maximum": 65535},
        "recipients": {"minItems": 1},
    },
)
