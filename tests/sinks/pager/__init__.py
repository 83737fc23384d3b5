"""A sink type that only the tests have: a page of one line, sent to a pager service over TCP.

The folder is complete, as a folder in `gateway/sinks/` has to be; `registered.py` has the one line that puts it into the list.
"""

from __future__ import annotations

from gateway.sinks.base import SinkType
from tests.sinks.pager.check import check, check_secrets
from tests.sinks.pager.config import PagerConfig
from tests.sinks.pager.preview import preview
from tests.sinks.pager.probe import probe
from tests.sinks.pager.sink import PagerSink, read_prefix

TYPE = SinkType(
    config=PagerConfig,
    open=PagerSink,
    check=check,
    check_secrets=check_secrets,
    probe=probe,
    preview=preview,
    destination=("host", "port", "number"),
    reads={"prefix": read_prefix},
    schema={"number": {"pattern": "^[0-9]{4,12}$"}},
)
