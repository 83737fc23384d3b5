"""Decodes TOML tables into structs, key by key, so that one problem does not hide the next. Knows no rule about any value."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import date, time
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, structs
from msgspec.structs import FieldInfo

from gateway.config.location import Finding, Findings, Place
from gateway.config.memo import Memo, Same
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration, Rate, Size

S = TypeVar("S", bound=Struct)
V = TypeVar("V")

SECRET_FORMS = '{ env = "NAME" }, { file = "/path" } or { credential = "name" }'
_WORDS: dict[Any, str] = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Duration: 'a duration such as "30s"',
    Size: 'a size such as "256KiB"',
    Rate: 'a rate such as "50/s"',
    SecretRef: SECRET_FORMS,
}
_PLURALS: dict[Any, str] = {
    str: "texts in quotes",
    int: "whole numbers",
    dict[str, Any]: "tables",
    Duration: 'durations such as "30s"',
}


class _Refused(Exception):
    """A value that is not good; the finding was added."""


def decode_table(kind: type[S], table: Any, where: Place, findings: Findings) -> S | None:
    """Build a struct from the keys of a table that are good, adding a finding for each other one.

    So what is good is checked further, and one problem does not hide the next: a key that is not good has its default, and one
    without a default, or an element of a list, something empty. None where it is no table.
    """
    if not isinstance(table, dict):
        findings.append(Finding(where, f"is {_is(table, hidden=True)}, and has to be a table"))
        return None
    fields = _fields(kind)
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key == kind.__struct_config__.tag_field:
            continue
        if key not in fields:
            findings.append(Finding(where / key, "unknown key", suggestion(key, fields), on="key"))
            continue
        with suppress(_Refused):
            values[key] = _decode_value(fields[key].type, raw, where / key, findings)
    for name, info in fields.items():
        if name not in table and info.required:
            findings.append(Finding(where / name, "is missing", f"it is {_expected(info.type)}"))
    empty = {name: _empty(info.type) for name, info in fields.items() if info.required}
    return kind(**empty | values)


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    """The keys of a struct. msgspec evaluates the annotations of all of them anew each time."""
    return {info.name: info for info in msgspec.structs.fields(kind)}


def suggestion(name: str, known: Collection[str]) -> str:
    """`did you mean "retry"?`, or else what there is."""
    close = difflib.get_close_matches(name, list(known), 1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""


def secret_refs(value: Any, where: Place) -> Iterator[tuple[Place, SecretRef]]:
    """Every reference to a secret inside a struct, with the place to name in an error."""
    if isinstance(value, SecretRef):
        yield where, value
        return
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Struct):
        inner = ((name, getattr(value, name)) for name in value.__struct_fields__)
    elif isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        if isinstance(item, Struct | dict | list):  # most are plain values, and a place for each would cost more than all else
            yield from secret_refs(item, where / key)


def secrets_in(settings: Struct, where: Place, memo: Memo) -> tuple[tuple[Place, SecretRef], ...]:
    """The same, found once for settings that stay."""
    return memo.get(("secrets", Same(settings), where), lambda: tuple(secret_refs(settings, where)))


def absolute(value: V, folder: Path, paths: Collection[str] = ()) -> V:
    """Return settings in which every relative path, also of a secret, is made absolute.

    Args:
        folder: where the paths start.
        paths: the keys of `value` that name a file.
    """
    if isinstance(value, SecretRef):
        return structs.replace(value, file=str(folder / value.file)) if value.file is not None else value
    if isinstance(value, Struct):
        written = {key: getattr(value, key) for key in paths}
        value = structs.replace(value, **{key: str(folder / text) for key, text in written.items() if text is not None})
    if isinstance(value, Struct):
        return structs.replace(value, **{name: absolute(getattr(value, name), folder) for name in value.__struct_fields__})
    if isinstance(value, dict):
        return type(value)((key, absolute(item, folder)) for key, item in value.items())
    if isinstance(value, list):
        return type(value)(absolute(item, folder) for item in value)
    return value


def _decode_value(kind: Any, raw: Any, where: Place, findings: Findings) -> Any:
    """Adds a finding and raises _Refused where it is not good."""
    # Of several kinds the one of the same shape, so that what is wrong inside is named there.
    kind = next(
        (option for option in _options(kind) if get_origin(option) in (list, dict) and type(raw) is get_origin(option)), kind
    )
    inner = get_args(kind)
    if get_origin(kind) is list and isinstance(raw, list):
        elements = []
        for number, item in enumerate(raw):
            try:
                elements.append(_decode_value(inner[0], item, where / number, findings))
            except _Refused:
                elements.append(_empty(inner[0]))
        return elements
    if get_origin(kind) is dict and isinstance(raw, dict):
        found = {}
        for key, item in raw.items():
            with suppress(_Refused):
                found[key] = _decode_value(inner[1], item, where / key, findings)
        return found
    if _is_secret(kind) and not _may_be_reference(raw):
        findings.append(Finding(where, "a secret never stands in this file", f"write {_WORDS[SecretRef]}"))
        raise _Refused
    if isinstance(raw, str) and "\0" in raw and kind is not Any:
        findings.append(Finding(where, "has a NUL character in it", "remove it"))
        raise _Refused
    struct = _struct_of(kind)
    if struct is not None and isinstance(raw, dict):
        return decode_table(struct, raw, where, findings)
    try:
        return msgspec.convert(raw, kind, dec_hook=_hook)
    except msgspec.ValidationError as error:
        said = str(error).partition(" - at `")[0]
        if isinstance(error.__cause__, ValueError) and not said.startswith("Expected"):
            findings.append(Finding(where, said))
        else:
            is_ = _is(raw, hidden=_may_hold_secret(kind))
            findings.append(Finding(where, f"is {is_}, and has to be {_expected(kind)}"))
        raise _Refused from None


def _empty(kind: Any) -> Any:
    """What stands in place of a value that was refused, where there has to be one."""
    kind = _options(kind)[0]
    return Duration(0) if kind is Duration else (get_origin(kind) or kind)()


def _may_be_reference(raw: Any) -> bool:
    return isinstance(raw, dict) and all(isinstance(value, str) for value in raw.values())


def _hook(kind: type, raw: Any) -> Any:
    if kind in (Duration, Size, Rate):
        if not isinstance(raw, str):
            raise ValueError(f"is {_is(raw)}, and has to be {_WORDS[kind]}")
        return kind(raw)
    raise TypeError(f"no way to decode {kind}")


def _struct_of(kind: Any) -> type[Struct] | None:
    """The struct that a field holds, where it is no list: `X`, `X | None` or `X | list[X]`."""
    options = [option for option in _options(kind) if option is not types.NoneType and get_origin(option) is not list]
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], Struct):
        return options[0]
    return None


def _is_secret(kind: Any) -> bool:
    """A field, or a list, of nothing but secrets: what stands there by mistake may be one, and is never shown."""
    inner = get_args(kind) if get_origin(kind) is list else _options(kind)
    return SecretRef in inner and str not in inner


def _may_hold_secret(kind: Any) -> bool:
    return kind is SecretRef or any(_may_hold_secret(inner) for inner in get_args(kind))


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is(raw: Any, *, hidden: bool = False) -> str:
    """What something is, for people; with its value, unless that could be a secret."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, str):
        return "a text" if hidden or "whsec_" in raw or "-----BEGIN" in raw else f'the text "{raw[:40]}"'
    if isinstance(raw, (int, float)):
        return "a number" if hidden else f"the number {raw}"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, (date, time)):
        return "a date or time"
    return "a table"


def _expected(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    origin, options = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f'"{option}"' for option in options)
    if origin is list:
        return f"a list of {_PLURALS.get(options[0]) or _expected(options[0]).removeprefix('a ')}"
    if origin is dict:
        return "a table"
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_expected(option) for option in options if option is not types.NoneType))
    return "a table"
