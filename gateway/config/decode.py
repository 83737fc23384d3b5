"""From TOML tables to structs, key by key, so that one problem does not hide the next. Knows no rule about any value."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterator
from datetime import date, time
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from gateway.core.errors import Problem
from gateway.core.values import Duration, Rate, SecretRef, Size

S = TypeVar("S", bound=Struct)

_WORDS: dict[Any, str] = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Duration: 'a duration such as "30s"',
    Size: 'a size such as "256KiB"',
    Rate: 'a rate such as "50/s"',
    SecretRef: '{ env = "NAME" }, { file = "/path" } or { credential = "name" }',
}


def place(*parts: str | int) -> str:
    """How a table is named to people: `[sinks.erp]`, `[[routes]] 2`."""
    names = [str(part) for part in parts if not isinstance(part, int)]
    numbers = [f" {part + 1}" for part in parts if isinstance(part, int)]
    return f"[[{'.'.join(names)}]]{numbers[0]}" if numbers else f"[{'.'.join(names)}]"


def decode_table(kind: type[S], table: Any, where: str, problems: list[Problem]) -> S | None:
    """Build a struct from the keys of a table that are good, adding a problem for each other one.

    So what is good is checked further, and one problem does not hide the next. None where a required key is not good.
    """
    if not isinstance(table, dict):
        problems.append(Problem(where, f"is {_is(table)}, and has to be a table"))
        return None
    fields = {info.name: info for info in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key == kind.__struct_config__.tag_field:
            continue
        if key not in fields:
            problems.append(Problem(f"{where} {key}", "unknown key", suggestion(key, fields)))
            continue
        before = len(problems)
        value = _decode_value(fields[key].type, raw, where, key, problems)
        if len(problems) == before:
            values[key] = value
    for name, info in fields.items():
        if name not in table and info.required:
            problems.append(Problem(f"{where} {name}", "is missing", f"it is {_expected(info.type)}"))
    complete = all(name in values for name, info in fields.items() if info.required)
    return kind(**values) if complete else None


def suggestion(name: str, known: Collection[str]) -> str:
    """`did you mean "retry"?`, or else what there is."""
    close = difflib.get_close_matches(name, list(known), 1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""


def secret_refs(value: Any, where: str) -> Iterator[tuple[str, SecretRef]]:
    """Every reference to a secret inside a struct, with the place to name in an error."""
    if isinstance(value, SecretRef):
        yield where, value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from secret_refs(getattr(value, name), f"{where} {name}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from secret_refs(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from secret_refs(item, where)


def _decode_value(kind: Any, raw: Any, where: str, key: str, problems: list[Problem]) -> Any:
    if _is_secret(kind) and not all(_may_be_reference(item) for item in (raw if isinstance(raw, list) else [raw])):
        problems.append(Problem(f"{where} {key}", "a secret never stands in this file", f"write {_WORDS[SecretRef]}"))
        return None
    struct = _struct_of(kind)
    if struct is not None and isinstance(raw, dict):
        inner = where.removesuffix("]") + f".{key}]" if where.startswith("[") and not where.startswith("[[") else f"{where} {key}"
        return decode_table(struct, raw, inner, problems)
    try:
        return msgspec.convert(raw, kind, dec_hook=_hook)
    except msgspec.ValidationError as error:
        said = str(error).partition(" - at `")[0]
        if isinstance(error.__cause__, ValueError) and not said.startswith("Expected"):
            problems.append(Problem(f"{where} {key}", said))
        else:
            problems.append(Problem(f"{where} {key}", f"is {_is(raw)}, and has to be {_expected(kind)}"))
        return None


def _may_be_reference(raw: Any) -> bool:
    return isinstance(raw, dict) and all(isinstance(value, str) for value in raw.values())


def _hook(kind: type, raw: Any) -> Any:
    if kind in (Duration, Size, Rate):
        if not isinstance(raw, str):
            raise ValueError(f"is {_is(raw)}, and has to be {_WORDS[kind]}")
        return kind(raw)
    raise TypeError(f"no way to decode {kind}")


def _struct_of(kind: Any) -> type[Struct] | None:
    """The struct that a field holds, `X` or `X | None`, but for secrets, whose keys are checked as one."""
    options = [option for option in _options(kind) if option is not types.NoneType]
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], Struct):
        return options[0]
    return None


def _is_secret(kind: Any) -> bool:
    """A field, or a list, of nothing but secrets: what stands there by mistake may be one, and is never shown."""
    inner = get_args(kind) if get_origin(kind) is list else _options(kind)
    return SecretRef in inner and str not in inner


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is(raw: Any) -> str:
    if isinstance(raw, str):
        return f'the text "{raw[:40]}"'
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, (int, float)):
        return f"the number {raw}"
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
        return f"a list of {_expected(options[0]).removeprefix('a ').replace('text in', 'texts in')}"
    if origin is dict:
        return "a table"
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_expected(option) for option in options if option is not types.NoneType))
    return "a table"
