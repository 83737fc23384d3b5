"""The least role of each page, of its twin, and of the stream, as the table of permissions of the door takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gateway.core.users import Role
from gateway.web.door.permissions import Permit
from gateway.web.pages.live_streams import LIVE_PATH, PLAY_LIVE_PATH
from gateway.web.pages.page_table import PAGES
from gateway.web.play.pasted_secrets import SECRET_PATH


def _permits() -> Iterator[Permit]:
    yield from (Permit("GET", path, Role.SUPPORT) for path in (LIVE_PATH, PLAY_LIVE_PATH))
    yield Permit("POST", SECRET_PATH, Role.READ)  # it changes nothing but what the page says of signatures
    for page in PAGES:
        for path in dict.fromkeys(re.sub(r"\{\w+\}(\.json)?", "*", text) for text in (page.path, page.twin)):
            yield Permit("GET", path, page.role)


PAGE_PERMITS: Final = tuple(_permits())
