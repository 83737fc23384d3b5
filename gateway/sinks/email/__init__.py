"""The `email` sink type: a mail with text and HTML, sent by SMTP.

`mail` builds the mail, with `headers`; `smtp` sends it, and `answers` turns the server's reply into an outcome.
"""

from gateway.sinks.base import Found, Opening, Sink, SinkType
from gateway.sinks.email.check import check
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.preview import preview
from gateway.sinks.text.templates import read_template


# aiosmtplib is slow to import, and a command that connects to nothing need not wait for it.
def _open(config: EmailConfig, opening: Opening) -> Sink:
    from gateway.sinks.email.sink import EmailSink

    return EmailSink(config, opening)


async def _probe(config: EmailConfig, opening: Opening) -> Found:
    from gateway.sinks.email.probe import probe

    return await probe(config, opening)


TYPE = SinkType(
    config=EmailConfig,
    open=_open,
    check=check,
    probe=_probe,
    preview=preview,
    destination=("host", "port", "recipients"),
    reads={"template": read_template},
    schema={
        "port": {"minimum": 1, "maximum": 65535},
        "recipients": {"minItems": 1},
    },
)
