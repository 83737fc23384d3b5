"""Decodes TOML tables into structs, key by key, so that one problem does not hide the next. It checks types, not values."""

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
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Duration: 'a duration such as "30s"',
    Size: 'a size such as "256KiB"',
    Rate: 'a rate such as "50/s"',
    SecretRef: SECRET_FORMS,
}
_PLURALS: dict[Any, str] = {
    str: "strings",
    int: "integers",
    dict[str, Any]: "tables",
    Duration: 'durations such as "30s"',
}


class _Refused(Exception):
    """A value that was refused. Its finding is already in the list."""


def decode_table(kind: type[S], table: Any, where: Place, findings: Findings) -> S | None:
    """Build a struct from the valid keys of a table, and add a finding for each other key. None if it is not a table.

    The valid keys are checked further, so that one problem does not hide the next. A refused key gets its default; a refused key
    without a default, and a refused element of a list, gets an empty value.
    """
    if not isinstance(table, dict):
        findings.append(Finding(where, f"is {_is(table, hidden=True)}, but must be a table"))
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
            findings.append(Finding(where / name, "is missing", f"it must be {_expected(info.type)}"))
    empty = {name: _empty(info.type) for name, info in fields.items() if info.required}
    return kind(**empty | values)


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a struct. The result is cached, because msgspec evaluates all annotations on each call."""
    return {info.name: info for info in msgspec.structs.fields(kind)}


def suggestion(name: str, known: Collection[str]) -> str:
    """Return `did you mean "retry"?`, or the list of known names if no name is similar."""
    close = difflib.get_close_matches(name, list(known), 1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""


def secret_refs(value: Any, where: Place) -> Iterator[tuple[Place, SecretRef]]:
    """Yield every reference to a secret inside a struct, with its place for errors."""
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
        if isinstance(
            item, Struct | dict | list
        ):  # most values are plain, and a place for each of them would be the largest cost
            yield from secret_refs(item, where / key)


def secrets_in(settings: Struct, where: Place, memo: Memo) -> tuple[tuple[Place, SecretRef], ...]:
    """Return the references of `secret_refs`, which the memo keeps for unchanged settings."""
    return memo.get(("secrets", Same(settings), where), lambda: tuple(secret_refs(settings, where)))


def absolute(value: V, folder: Path, paths: Collection[str] = ()) -> V:
    """Return settings in which every relative path, including those of secrets, is absolute.

    Args:
        folder: The folder that relative paths start from.
        paths: The keys of `value` that name a file.
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
    """Decode one value. If it is refused, add a finding and raise _Refused."""
    # Of several possible types, choose the one with the same shape, so that an error inside is reported at its place.
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
        findings.append(Finding(where, "a secret cannot be written into this file", f"write {_WORDS[SecretRef]}"))
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
            findings.append(Finding(where, f"is {is_}, but must be {_expected(kind)}"))
        raise _Refused from None


def _empty(kind: Any) -> Any:
    """Return the empty value that replaces a refused one if a value is required."""
    kind = _options(kind)[0]
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return Duration(0) if kind is Duration else (get_origin(kind) or kind)()


def _may_be_reference(raw: Any) -> bool:
    return isinstance(raw, dict) and all(isinstance(value, str) for value in raw.values())


def _hook(kind: type, raw: Any) -> Any:
    if kind in (Duration, Size, Rate):
        if not isinstance(raw, str):
            raise ValueError(f"is {_is(raw)}, but must be {_WORDS[kind]}")
        return kind(raw)
    raise TypeError(f"no way to decode {kind}")


def _struct_of(kind: Any) -> type[Struct] | None:
    """Return the struct that a field can hold: `X`, `X | None` or `X | list[X]`. None for any other type."""
    options = [option for option in _options(kind) if option is not types.NoneType and get_origin(option) is not list]
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], Struct):
        return options[0]
    return None


def _is_secret(kind: Any) -> bool:
    """Return True for a field or a list that holds only secrets. Any other value there may be a secret and is never shown."""
    inner = get_args(kind) if get_origin(kind) is list else _options(kind)
    return SecretRef in inner and str not in inner


def _may_hold_secret(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, Struct) and kind is not SecretRef:
        return any(_may_hold_secret(info.type) for info in _fields(kind).values())
    return kind is SecretRef or any(_may_hold_secret(inner) for inner in get_args(kind))


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is(raw: Any, *, hidden: bool = False) -> str:
    """Describe a value for people, with the value itself unless it could be a secret."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, str):
        return "a string" if hidden or "whsec_" in raw or "-----BEGIN" in raw else f'the string "{raw[:40]}"'
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
