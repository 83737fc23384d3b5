"""Makes the pager a subject of the conformance suite, by `pytest -p tests.sinks.pager.conforming`."""

from __future__ import annotations

import tests.sinks.pager.registered  # noqa: F401 (puts it into the list)
from tests.sinks.pager import TYPE
from tests.sinks.pager.config import PagerConfig
from tests.sinks.pager.service import PagerService, hanging, saying
from tests.sinks.sending import ref
from tests.sinks.subjects import SUBJECTS, Subject

SUBJECTS[TYPE.name] = Subject(
    settings=lambda port: PagerConfig(host="127.0.0.1", port=port, number="4711", token=ref("BEARER")),
    taking=PagerService,
    hanging=hanging,
    failures={
        "hang": hanging,
        "drop": lambda: saying(b""),
        "busy": lambda: saying(b"busy\n"),
        "echo": lambda: saying(b"no bearer-8Hq2-never-shown\n"),
        "garbage": lambda: saying(b"\x00\xff\n"),
    },
)
