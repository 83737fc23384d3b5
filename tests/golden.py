"""Files with expected texts, which a person has read; `REWRITE_EXPECTED=1 pytest FILE` writes them again."""

from __future__ import annotations

import os
from pathlib import Path


def same(said: str | bytes, file: Path) -> None:
    """Fail unless the file holds exactly these bytes; a text is compared as UTF-8."""
    raw = said.encode() if isinstance(said, str) else said
    if os.environ.get("REWRITE_EXPECTED"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)
    expected = file.read_bytes()
    # Compared as texts where they are: a difference in one is there to be read.
    assert (said == expected.decode()) if isinstance(said, str) else (raw == expected)
