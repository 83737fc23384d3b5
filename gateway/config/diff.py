"""The differences between the running configuration and another one, for people, and which of them need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct, structs

from gateway.config.settings import Config
from gateway.core.secrets import SecretRef
from gateway.host.certificates import day, validity
from gateway.sinks import type_of
from gateway.sinks.base import SinkSettings

_HIDDEN = "***"


class Difference(Struct, frozen=True):
    """One difference between two configurations."""

    kind: Literal["added", "removed", "changed", "moved"]
    place: str
    """The place, such as `[sinks.erp] timeout` or `[[routes]] "verdicts"`."""
    before: str = ""
    after: str = ""
    restart: bool = False
    """True if it has no effect until the process is restarted."""

    def __str__(self) -> str:
        values = f": {self.before} -> {self.after}" if self.before or self.after else ""
        late = " (needs a restart)" if self.restart else ""
        return f"{self.kind} {self.place}{values}{late}"


class QueuedDeliveries(Struct, frozen=True):
    """The effect of a reload on the queued deliveries of one sink."""

    sink: str
    effect: Literal["redirected", "held", "released"]
    """`redirected`: the sink has another destination; `held`: it leaves the configuration; `released`: its name is back."""
    queued: int | None
    """The number of queued deliveries; None if the store cannot be asked now."""

    def __str__(self) -> str:
        one = self.queued == 1
        subject = f"{self.queued if self.queued is not None else 'its'} queued {'delivery' if one else 'deliveries'}"
        what = {
            "redirected": f"{'goes' if one else 'go'} to the new destination",
            "held": f"{'is' if one else 'are'} held: no such sink",
            "released": f"{'is' if one else 'are'} no longer held, and {'goes' if one else 'go'} to it",
        }[self.effect]
        unknown = " (the store cannot say how many there are)" if self.queued is None else ""
        return f"{self.sink}: {subject} {what}{unknown}"


def differences(old: Config, new: Config) -> list[Difference]:
    """Return everything that a reload from `old` to `new` would change, in the order of the tables, without [[tests]]."""
    kept = new.has_secrets_of(old)
    return [
        *_singles(old, new),
        *_named("admin.users", old.admin.users, new.admin.users, old, new, kept=kept),
        *_reconcile(old, new),
        *_named("sources", old.sources, new.sources, old, new, kept=kept),
        *_named("sinks", old.sinks, new.sinks, old, new, kept=kept),
        *_routes(old, new),
        *_watches(old, new),
    ]


def queued_deliveries(old: Config, new: Config, queued: Mapping[str, int] | None) -> list[QueuedDeliveries]:
    """Return the effect of a reload from `old` to `new` on waiting deliveries, by sink. Sinks without any are left out.

    Args:
        queued: The number of queued deliveries by sink, including sinks in neither configuration; None if it is not known.
    """
    effects: dict[str, Literal["redirected", "held", "released"]] = {}
    kept = old.base == new.base and new.has_secrets_of(old)
    for name, settings in old.sinks.items():
        if name not in new.sinks:
            effects[name] = "held"
        elif kept and settings == new.sinks[name]:
            continue
        elif _destination(settings, old) != _destination(new.sinks[name], new):
            effects[name] = "redirected"
    effects |= {name: "released" for name in new.sinks if name not in old.sinks and queued is not None}
    found = [
        QueuedDeliveries(name, effect, queued.get(name, 0) if queued is not None else None) for name, effect in effects.items()
    ]
    return [one for one in found if one.queued != 0]


def _destination(settings: SinkSettings, config: Config) -> tuple[Any, ...]:
    """Return the destination of a sink, including secret URLs. Use it only for comparison, and never show it."""
    values = [getattr(settings, key) for key in type_of(settings).destination]
    return (type(settings), config.base, *((value, config.secrets_of(value)) for value in values))


def until_restart(old: Config, new: Config) -> Config:
    """Return the configuration that runs after a reload from `old` to `new`.

    Listeners (which may belong to systemd), the database and the audit log are opened once, at the start, and stay unchanged.
    """
    admin, secrets = structs.replace(new.admin, listen=old.admin.listen), new.secrets
    if old.admin.asks and not new.admin.asks and new.admin.listen != old.admin.listen:
        # The new address may need no users, but strangers may reach the listener at its old address.
        admin = old.admin
        tokens = [admin.token, *(user.token for user in admin.users.values())]
        secrets = {**secrets, **{ref: old.secret(ref) for ref in tokens if ref is not None}}
    server = structs.replace(new.server, listen=old.server.listen)
    if (old.server.tls is None) is not (new.server.tls is None):  # a listener speaks TLS, or it does not
        server = structs.replace(server, tls=old.server.tls)
        secrets = {**secrets, **{ref: old.secret(ref) for ref in (old.server.tls.pair if old.server.tls else ())}}
    if old.store.url is not None:
        secrets = {**secrets, old.store.url: old.secret(old.store.url)}
    return structs.replace(
        new,
        server=server,
        admin=admin,
        store=structs.replace(
            new.store, path=old.store.path, url=old.store.url, schema=old.store.schema, durability=old.store.durability
        ),
        node=old.node,
        audit=structs.replace(new.audit, path=old.audit.path),
        database=old.database,
        audit_log=old.audit_log,
        secrets=secrets,
    )


def _singles(old: Config, new: Config) -> Iterator[Difference]:
    stays = until_restart(old, new)
    for table in ("server", "admin", "store", "node", "audit", "defaults"):
        for key, before, after in _changed(getattr(old, table), getattr(new, table), old, new):
            place = f"[{table}] {key}"
            if (table, key) == ("admin", "users"):
                continue  # they are compared one by one
            if (table, key) == ("store", "path") and old.database == new.database:
                continue
            if (table, key) == ("audit", "path") and old.audit_log == new.audit_log:
                continue
            if key == "tls" and (renewed := _renewed(old, new)) is not None:
                before, after = renewed
            kept, wanted = (getattr(getattr(config, table), key) for config in (stays, new))
            late = kept != wanted or stays.secrets_of(kept) != new.secrets_of(wanted)
            yield Difference("changed", place, before, after, restart=late)


def _reconcile(old: Config, new: Config) -> Iterator[Difference]:
    if old.reconcile is None or new.reconcile is None:
        if old.reconcile is not new.reconcile:
            yield Difference("removed" if new.reconcile is None else "added", "[reconcile]")
        return
    for key, before, after in _changed(old.reconcile, new.reconcile, old, new):
        yield Difference("changed", f"[reconcile] {key}", before, after)


def _renewed(old: Config, new: Config) -> tuple[str, str] | None:
    """Describe the validity of the old and the new certificate if both are in the same place; None otherwise."""
    was, will = old.server.tls, new.server.tls
    if was is None or was != will:
        return None
    before, after = (day(validity(config.secret(was.pair[0])).ends) for config in (old, new))
    return f"certificate valid until {before}", f"renewed, valid until {after}"


def _named(
    table: str, old: Mapping[str, Struct], new: Mapping[str, Struct], was: Config, will: Config, *, kept: bool
) -> Iterator[Difference]:
    """Yield the differences between named tables. `kept` is True if all secrets are unchanged."""
    for name in old:
        if name not in new:
            yield Difference("removed", f"[{table}.{name}]")
    for name, settings in new.items():
        if name not in old:
            yield Difference("added", f"[{table}.{name}]")
        elif type(old[name]) is not type(settings):
            yield Difference("changed", f"[{table}.{name}] type", _type(old[name]), _type(settings))
        else:
            same = kept and old[name] == settings  # the usual case, in hundreds of sinks
            for key, before, after in () if same else _changed(old[name], settings, was, will):
                yield Difference("changed", f"[{table}.{name}] {key}", before, after)
            for key in _changed_files(name, was, will) if table == "sinks" else ():
                yield Difference("changed", f"[sinks.{name}] {key}", after="another text in the same file")


def _changed_files(sink: str, was: Config, will: Config) -> Iterator[str]:
    """Yield the keys of a sink that name the same file as before, but with another text."""
    before, after = was.sink_files.get(sink, {}), will.sink_files.get(sink, {})
    for key, text in after.items():
        if getattr(was.sinks[sink], key) == getattr(will.sinks[sink], key) and before.get(key) != text:
            yield key


def _routes(old: Config, new: Config) -> Iterator[Difference]:
    before = {rule.route.name: rule.settings for rule in old.rules}
    after = {rule.route.name: rule.settings for rule in new.rules}
    yield from _tables("[[routes]]", before, after, old, new)
    # Their order decides which routes a final route stops.
    order, anew = [name for name in before if name in after], [name for name in after if name in before]
    for name, other in zip(order, anew, strict=True):
        if name != other:
            yield Difference("moved", f'[[routes]] "{other}"')


def _watches(old: Config, new: Config) -> Iterator[Difference]:
    before = {rule.settings.name: rule.settings for rule in old.watch_rules}
    after = {rule.settings.name: rule.settings for rule in new.watch_rules}
    yield from _tables("[[watch]]", before, after, old, new)


def _tables(
    kind: str, before: Mapping[str, Struct], after: Mapping[str, Struct], old: Config, new: Config
) -> Iterator[Difference]:
    """Yield what changed in the tables of a kind, which are told apart by their names."""
    for name in before:
        if name not in after:
            yield Difference("removed", f'{kind} "{name}"')
    for name, settings in after.items():
        if name not in before:
            yield Difference("added", f'{kind} "{name}"')
        elif before[name] != settings:
            for key, was, will in _changed(before[name], settings, old, new):
                if key != "name":
                    yield Difference("changed", f'{kind} "{name}" {key}', was, will)


def _changed(before: Struct, after: Struct, old: Config, new: Config) -> Iterator[tuple[str, str, str]]:
    """Yield each changed key with both values. The value of a secret is not shown."""
    for key in before.__struct_fields__:
        was, will = getattr(before, key), getattr(after, key)
        if was != will:
            this, that = _hidden(key, was), _hidden(key, will)
            yield key, this, that if that != this else "another one, not shown"
        elif old.secrets_of(was) != new.secrets_of(will):
            yield key, _hidden(key, was), "another secret in the same place"


def _hidden(key: str, value: Any) -> str:
    """Return the text of `_shown` without header values and the part of a URL after its host, which may be secret."""
    if key == "headers" and isinstance(value, dict):
        return _shown({name: one if isinstance(one, SecretRef) else _HIDDEN for name, one in value.items()})
    if key.endswith("url") and isinstance(value, str):
        parts = urlsplit(value)
        return _shown(f"{parts.scheme}://{parts.netloc}{f'/{_HIDDEN}' if parts.path.strip('/') or parts.query else ''}")
    return _shown(value)


def _shown(value: Any) -> str:
    """Format a value roughly as in TOML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, SecretRef):
        return str(value)
    if isinstance(value, Struct):
        return "{ " + ", ".join(f"{key} = {_shown(getattr(value, key))}" for key in value.__struct_fields__) + " }"
    if isinstance(value, dict):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{key} = {_shown(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _type(settings: Struct) -> str:
    return str(settings.__struct_config__.tag)
