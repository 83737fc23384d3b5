"""The `slack` sink type: messages in a channel, by an incoming webhook or a bot's token.

`posts` builds a post out of `blocks`; `answers` turns Slack's reply into an outcome, by the list in `error_codes`.
"""

from gateway.sinks.base import SinkType
from gateway.sinks.slack.check import check, check_secrets
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.preview import preview
from gateway.sinks.slack.probe import probe
from gateway.sinks.slack.sink import SlackSink
from gateway.sinks.text.templates import read_template

TYPE = SinkType(
    config=SlackConfig,
    open=SlackSink,
    check=check,
    check_secrets=check_secrets,
    probe=probe,
    preview=preview,
    destination=("webhook_url", "channel", "api"),
    reads={"template": read_template},
    schema={"proxy": {"pattern": "^[Hh][Tt][Tt][Pp]://[^@]*$"}},
)
