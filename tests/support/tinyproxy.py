"""An HTTP proxy that many run: tinyproxy, with a login. Debian has it as tinyproxy-bin."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.real_server import running

PASSWORD = "proxy-3Jc8-never-shown"
_CONFIG = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 20
Allow 127.0.0.1
BasicAuth gateway {password}
{rules}
"""


@contextmanager
def tinyproxy(port: int, rules: str = "") -> Iterator[None]:
    """Run a proxy on this port, or skip the test where it is not installed. `rules` are lines of its configuration."""
    program = shutil.which("tinyproxy")
    if program is None:
        pytest.skip("there is no tinyproxy here: on Debian, apt install tinyproxy-bin")
    with tempfile.TemporaryDirectory(prefix="tinyproxy") as name:
        folder = Path(name)
        written = _CONFIG.format(port=port, password=PASSWORD, rules=rules)
        (folder / "tinyproxy.conf").write_text(written, encoding="utf-8")
        with running([program, "-d", "-c", str(folder / "tinyproxy.conf")], port, folder):
            yield


def proxy_url(port: int, password: str = PASSWORD) -> str:
    """The value of the key `proxy`, with the login."""
    return f"http://gateway:{password}@127.0.0.1:{port}"
