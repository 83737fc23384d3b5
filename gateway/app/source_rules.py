"""What a configuration says of its sources, as the intake and the listener for webhooks need it."""

from __future__ import annotations

from gateway.config import Config
from gateway.core.networks import Networks
from gateway.core.signature import Key
from gateway.ingest.receive import Source
from gateway.web.webhooks.access import Access


def sources_of(config: Config) -> dict[str, Source]:
    """What webhooks are verified by, by path."""
    return {
        settings.path or "": Source(
            name, [Key(config.secret(ref)) for ref in settings.secrets], settings.tolerance, settings.identity_fields()
        )
        for name, settings in config.sources.items()
    }


def limits_of(config: Config) -> dict[str, int]:
    """Bytes of refused requests that are kept, by source."""
    return {name: settings.keep_refused if settings.secrets else 0 for name, settings in config.sources.items()}


def with_new_secrets(old: Config, new: Config) -> list[str]:
    """The sources that a new configuration gives a secret which they did not have; one that comes back may have requests kept."""
    before = {name: set(old.secrets_of(settings.secrets)) for name, settings in old.sources.items()}
    return [
        name for name, settings in new.sources.items() if not set(new.secrets_of(settings.secrets)) <= before.get(name, set())
    ]


def access_of(config: Config) -> Access:
    """Who may send."""
    allowed = {name: Networks(source.allow_from) for name, source in config.sources.items() if source.allow_from is not None}
    return Access(Networks(config.server.trusted_proxies), allowed)
