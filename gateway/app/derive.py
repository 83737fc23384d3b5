"""Takes from a configuration the plain values that each part needs, because most parts are in layers that do not know TOML.

Every function is pure. It raises a `GatewayError` if the configuration cannot be used, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.config import Config
from gateway.config.addresses import Tcp, parse_address
from gateway.core.errors import ListenError
from gateway.core.networks import Networks
from gateway.core.proxies import parse_proxy
from gateway.core.routing import Router
from gateway.core.rules_then import RulesThen, rules_then
from gateway.core.secrets import SecretRef
from gateway.core.signature import Key
from gateway.core.users import ADMIN, Role, User
from gateway.core.values import Duration
from gateway.delivery.lanes import policy_of
from gateway.host.certificates import PairError
from gateway.ingest.accept import Rules
from gateway.ingest.receive import Source
from gateway.reconcile.legitmark_api import ApiAccess
from gateway.reconcile.reconciler import Reconciling
from gateway.web.door.door_settings import DoorSettings
from gateway.web.server.tls import Certificate
from gateway.web.webhooks.access import Access


def sources_of(config: Config) -> dict[str, Source]:
    """Return the sources by the path that their webhooks come to, ready to verify."""
    return {
        settings.path or "": Source(
            name, [Key(config.secret(ref), str(ref)) for ref in settings.secrets], settings.tolerance, settings.identity_fields()
        )
        for name, settings in config.sources.items()
    }


def sources_by_name(config: Config) -> dict[str, Source]:
    return {source.name: source for source in sources_of(config).values()}


def with_new_secrets(old: Config, new: Config) -> list[str]:
    """Return the names of the sources to which a new configuration gives a secret that the old one did not.

    A source that the old configuration lacked counts, too: it may be back, and its refused requests may still be kept.
    """
    before = {name: set(old.secrets_of(settings.secrets)) for name, settings in old.sources.items()}
    return [
        name for name, settings in new.sources.items() if not set(new.secrets_of(settings.secrets)) <= before.get(name, set())
    ]


def limits_of(config: Config) -> dict[str, int]:
    """Return how many bytes of refused requests are kept, by source; 0 keeps none."""
    return {name: settings.keep_refused if settings.secrets else 0 for name, settings in config.sources.items()}


def rules_of(config: Config, before: Rules | None = None) -> Rules:
    """Return the routes and retry policies for new messages.

    Args:
        before: the rules in use, from which everything that stays the same is used again.
    """
    return Rules(
        router=Router(config.routes, None if before is None else before.router),
        policies={name: policy_of(settings) for name, settings in config.sinks.items()},
        in_order=frozenset(name for name, settings in config.sinks.items() if settings.by_sr),
        suppressing=suppressing_of(config),
        watches=config.watches,
    )


def rules_to_keep(config: Config) -> RulesThen:
    """Return the rules as the store keeps them, with the file and line of each route."""
    places = [
        f"{_from(config.base, rule.place.file)}:{line}" if line else ""
        for rule, line in zip(config.rules, config.route_lines, strict=True)
    ]
    return rules_then(config.routes, places, suppressing_of(config))


def suppressing_of(config: Config) -> frozenset[str]:
    """Return the sinks that no late event reaches."""
    return frozenset(name for name, settings in config.sinks.items() if settings.on_stale == "suppress")


def _from(base: Path, file: Path) -> Path:
    return file.relative_to(base) if file.is_relative_to(base) else file


def reconciling_of(config: Config) -> Reconciling | None:
    """Return how Legitmark's API is asked; None without [reconcile]."""
    if (settings := config.reconcile) is None:
        return None
    proxy = config.secret(settings.proxy).reveal() if isinstance(settings.proxy, SecretRef) else settings.proxy
    return Reconciling(
        access=ApiAccess(
            url=settings.url,
            header=settings.header,
            scheme=settings.scheme,
            key=config.secret(settings.api_key),
            timeout=settings.timeout,
            proxy=None if proxy is None else parse_proxy(proxy),
            allow_networks=settings.allow_networks,
        ),
        source=settings.source or next(iter(config.sources)),
        rate=settings.rate,
        most=settings.most,
        emit=settings.emit,
        gap=settings.gap,
    )


def access_of(config: Config) -> Access:
    """Return the addresses that may send to each source, and the proxies whose X-Forwarded-For counts."""
    allowed = {name: Networks(source.allow_from) for name, source in config.sources.items() if source.allow_from is not None}
    return Access(Networks(config.server.trusted_proxies), allowed)


def certificate_of(config: Config) -> Certificate | None:
    """Return the certificate of the listeners for webhooks; None if they speak plain HTTP. Raises ListenError."""
    if config.server.tls is None:
        return None
    certificate, key = (config.secret(ref) for ref in config.server.tls.pair)
    try:
        return Certificate.of(certificate, key)
    except PairError as error:  # it was good when it was loaded; but a credential stays what it was at the start
        raise ListenError(f"[server] tls.{error}") from None


def door_of(config: Config) -> DoorSettings:
    """Return who may use the admin listener, and by which names."""
    admin = config.admin
    listening = [parse_address(text, config.base) for text in admin.listen]
    users = [
        User(name, Role(user.role), None if user.token is None else config.secret(user.token))
        for name, user in admin.users.items()
    ]
    if admin.token is not None:
        users.append(User(ADMIN, Role.OPERATE, config.secret(admin.token)))
    return DoorSettings(
        users=tuple(users),
        hosts=frozenset((*(one.host.lower() for one in listening if isinstance(one, Tcp)), *(map(str.lower, admin.hosts)))),
        user_header=admin.user_header,
        header_role=Role(admin.user_header_role),
        proxies=Networks(admin.trusted_proxies),
    )


def webhook_urls_of(config: Config, addresses: Sequence[str]) -> list[str]:
    """Return the URL of each source at the first TCP address, as this host sees it; only the paths if there is no such address.

    Args:
        addresses: where the gateway listens for webhooks.
    """
    scheme = "http" if config.server.tls is None else "https"
    listening = (parse_address(text, config.base) for text in addresses)
    base = next((f"{scheme}://{address}" for address in listening if isinstance(address, Tcp)), "")
    return [f"{base}{source.path}" for source in config.sources.values()]


def watch_names_of(config: Config) -> list[str]:
    """Return the names of the rules that watch service requests."""
    return [watch.name for watch in config.watches]


def silent_after_of(config: Config) -> dict[str, Duration]:
    """Return the time without a message after which people are told, by source; 0 never tells."""
    return {name: settings.silent_after for name, settings in config.sources.items()}


def failing_after_of(config: Config) -> dict[str, Duration]:
    """Return the time of failures after which people are told, by sink; 0 never tells."""
    return {name: settings.failing_after for name, settings in config.sinks.items()}


def new_names(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return the names that only the second table has, in its order."""
    return [name for name in after if name not in before]
