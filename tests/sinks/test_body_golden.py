"""Every message as a program gets it, in each format of the http sink and as a line of the jsonl sink: a file of each, read by a
person. No language plays a part.

`REWRITE_EXPECTED=1 pytest tests/sinks/test_body_golden.py` writes them anew: read what changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.sinks.http import request as http
from gateway.sinks.http.config import Format
from gateway.sinks.jsonl import sink as jsonl
from tests.fakes import START
from tests.golden import same
from tests.sinks.golden_deliveries import DELIVERIES
from tests.support.webhooks import SECRET

GOLDEN = Path(__file__).parent / "golden"
FORMATS: tuple[Format, ...] = get_args(Format)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", DELIVERIES)
def test_each_message_is_the_request_in_its_golden_file(name: str, format_: Format) -> None:
    request = http.render(DELIVERIES[name], [Key(Secret(SECRET))], START, format_)
    headers = "".join(f"{header}: {value}\n" for header, value in sorted(request.headers.items()))
    same(headers.encode() + b"\n" + request.body + b"\n", GOLDEN / "http" / f"{name}.{format_}.txt")


@pytest.mark.parametrize("name", DELIVERIES)
def test_each_message_is_the_line_in_its_golden_file(name: str) -> None:
    same(jsonl.render(DELIVERIES[name]), GOLDEN / "jsonl" / f"{name}.txt")


def test_every_golden_file_belongs_to_a_message() -> None:
    assert {path.stem for path in (GOLDEN / "jsonl").iterdir()} == set(DELIVERIES)
    assert {path.stem for path in (GOLDEN / "http").iterdir()} == {
        f"{name}.{format_}" for name in DELIVERIES for format_ in FORMATS
    }
