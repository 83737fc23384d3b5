"""The keys of a `pager` sink."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from msgspec import structs

from gateway.core.secrets import SecretRef
from gateway.sinks.base import Locale, SinkSettings


class PagerConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="pager"):
    host: str
    port: int = 4000
    number: str
    token: SecretRef
    prefix: str | None = None
    """A file whose text begins every page; absolute once the configuration is loaded."""
    allow_networks: list[str] | None = None

    def completed(self, locale: Locale, timezone: str, folder: Path) -> Self:
        return structs.replace(self, prefix=None if self.prefix is None else str(folder / self.prefix))
