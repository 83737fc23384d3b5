"""Bounds for everything that makes values grow in a template: repetition, loops, and the filters that minijinja leaves unbounded.

Every function here raises TooMuch before it allocates what is too much: an allocation that fails ends the process.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from minijinja import Environment, safe

from gateway.host.clock import Clock
from gateway.sinks.text.template_words import BOUNDED_FILTERS, NATIVE_FILTERS

MOST_VALUE = 256 * 1024
"""Characters or items of one value, together with those of the values inside it."""
MOST_WORK = 4 * 1024 * 1024
"""Characters and items that one rendering makes in all."""
MOST_SECONDS = 1.0
"""Seconds of one rendering, during which everything else waits; most take a few milliseconds."""
_ITEM_COST = 8
"""Units of work for an item of a list: an item takes longer than a character on the way from minijinja to Python and back."""
_MOST_WIDTH = 1000
_MOST_INDENT = 100
_MOST_DEPTH = 32
_MOST_GROUPS = 10_000
_MOST_NUMBER = 2**63
_MAP_COST = 100
"""Units of work for one call of a native filter by `map`."""
_TOO_LARGE = "a value is larger than 256 KiB"
_FORMAT = re.compile(r"%(?:\(\w*\))?[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?")
_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"}


class TooMuch(ValueError):
    """A template asks for more than it may have."""


class Bounds:
    """The bounded operations of one environment, and the work that the current rendering has used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work = 0
        self._until = math.inf

    def begin(self) -> None:
        """Begin a rendering, and forget the work of the one before."""
        self._work, self._until = 0, self._clock.monotonic() + MOST_SECONDS

    def tick(self) -> None:
        """Raise TooMuch if the time of the rendering is over."""
        if self._clock.monotonic() > self._until:
            raise TooMuch(f"a rendering takes longer than {MOST_SECONDS:g} s")

    def install(self, environment: Environment) -> None:
        """Replace minijinja's operations by the bounded ones, and remove all others that allocate."""
        for name in ("cycler", "debug", "joiner", "namespace", "range"):
            environment.remove_global(name)
        for name in ("attr", "chain", "pprint", "safe"):
            environment.remove_filter(name)
        environment.add_filter("within", self.within)
        environment.add_global("product", self.product)
        environment.add_global("tick", self.tick)
        environment.add_global("range", self.range)
        for name in BOUNDED_FILTERS:
            environment.add_filter(name, getattr(self, name))

    def within(self, value: Any, text: int | None = None) -> Any:
        """Return the value if it is small enough to have a name.

        Args:
            text: characters that each round of the loop over it writes; None if there is no loop.
        """
        if text is not None:
            if value is None:
                raise TooMuch("undefined value: there is nothing to loop over")
            value = value if isinstance(value, str | Mapping) else list(value)
            self._spend(len(value) * text)
        self._spend(_size(value) * (1 if isinstance(value, str) else _ITEM_COST))
        return value

    def product(self, left: Any, right: Any) -> Any:
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int):
                return self._made(_size(value) * max(times, 0), lambda value=value, times=times: value * times)
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TooMuch("invalid operation: only numbers are multiplied, and a text by a whole number")
        return _number(left * right)

    def range(self, *limits: int) -> Any:
        if not limits or not all(isinstance(limit, int) for limit in limits):
            raise TooMuch("range: takes whole numbers")
        try:
            found = range(*limits)
            return self._made(len(found), lambda: list(found))
        except (ValueError, TypeError, OverflowError):
            raise TooMuch("range: too many items, or numbers that it cannot take") from None

    def indent(self, value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
        text, width = _text(value), _whole(width, _MOST_INDENT, "indent")
        lines = text.split("\n")

        def made() -> str:
            pad = " " * width
            return "\n".join(
                line if (number == 0 and not first) or not (line or blank) else pad + line for number, line in enumerate(lines)
            )

        return str(self._made(len(text) + len(lines) * width, made))

    def replace(self, value: Any, old: Any, new: Any) -> str:
        text, before, after = _text(value), _text(old), _text(new)
        count = text.count(before) if before else len(text) + 1
        return str(self._made(len(text) + count * len(after), lambda: text.replace(before, after)))

    def join(self, value: Any, separator: Any = "", attribute: str | None = None) -> str:
        items = [_text(item if attribute is None else _attribute(item, attribute)) for item in _items(value)]
        between = _text(separator)
        return str(self._made(sum(map(len, items)) + len(items) * len(between), lambda: between.join(items)))

    def format(self, value: Any, *arguments: Any, **named: Any) -> str:
        text = _text(value)
        for found in _FORMAT.finditer(text):
            for width in found.groups():
                if width == "*" or len(width or "") > 4 or int(width or 0) > _MOST_WIDTH:
                    raise TooMuch(f"format: a width is a number up to {_MOST_WIDTH}")
        size = len(text) + sum(_size(argument) for argument in (*arguments, *named.values()))
        try:
            return str(self._made(size + text.count("%") * _MOST_WIDTH, lambda: text % (named or arguments)))
        except (TypeError, ValueError, KeyError, OverflowError):
            raise TooMuch("format: the text and its values do not fit") from None

    def tojson(self, value: Any, indent: int | None = None) -> Any:
        width = None if indent is None or indent is False else _whole(indent, 16, "tojson")
        self._spend(_size(value) * (1 + _MOST_DEPTH * (width or 0) // 8))
        try:
            said = json.dumps(value, indent=width, ensure_ascii=False, default=_text)
        except (TypeError, ValueError):
            raise TooMuch("tojson: JSON has no such value") from None
        return safe("".join(_MARKUP.get(character, character) for character in said))

    def batch(self, value: Any, count: int, fill: Any = None) -> list[list[Any]]:
        items, number = _items(value), max(_whole(count, _MOST_GROUPS, "batch"), 1)
        groups = [items[at : at + number] for at in range(0, len(items), number)]
        if groups and fill is not None:
            self._spend(number * _size(fill))
            groups[-1] += [fill] * (number - len(groups[-1]))
        self._spend(len(items))
        return groups

    def slice(self, value: Any, count: int, fill: Any = None) -> list[list[Any]]:
        items, number = _items(value), max(_whole(count, _MOST_GROUPS, "slice"), 1)
        self._spend(len(items) + number * (1 + _size(fill)))
        short, more = divmod(len(items), number)
        sizes = [short + (at < more) for at in range(number)]
        starts = [sum(sizes[:0])] if not sizes else [0]
        for size in sizes[:-1]:
            starts.append(starts[-1] + size)
        groups = [items[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        if fill is not None and more:
            for group in groups[more:]:
                group.append(fill)
        return groups

    def wordwrap(self, value: Any, width: int = 79) -> str:
        text, columns = _text(value), max(_whole(width, MOST_VALUE, "wordwrap"), 1)
        self._spend(2 * len(text))
        return "\n".join(textwrap.fill(line, columns) for line in text.split("\n"))

    def map(self, value: Any, name: str | None = None, *arguments: Any, attribute: str | None = None) -> list[Any]:
        items = _items(value)
        if attribute is not None:
            found = [_attribute(item, attribute) for item in items]
        elif name in BOUNDED_FILTERS:
            found = [getattr(self, name)(item, *arguments) for item in items]
        elif name in NATIVE_FILTERS:
            self._spend(_MAP_COST * len(items))
            given = {f"a{number}": argument for number, argument in enumerate(arguments)}
            said = f"v|{name}({', '.join(given)})" if given else f"v|{name}"
            native = Environment()
            found = [native.eval_expr(said, v=item, **given) for item in items]
        else:
            raise TooMuch(f'map: a template has no filter "{name}"')
        self._spend(_size(found))
        return found

    def zip(self, value: Any, *others: Any) -> Any:
        lists = [_items(one) for one in (value, *others)]
        size = len(lists) * min(len(one) for one in lists)
        return self._made(size, lambda: [list(items) for items in zip(*lists, strict=False)])

    def _made(self, size: int, make: Any) -> Any:
        """Return what `make` makes, if its size is within the bounds."""
        if size > MOST_VALUE:
            raise TooMuch(_TOO_LARGE)
        self._spend(size)
        return make()

    def _spend(self, size: int) -> None:
        self._work += size + 1
        if self._work > MOST_WORK:
            raise TooMuch("a rendering says more than 4 MiB")
        self.tick()


def _size(value: Any, depth: int = 0) -> int:
    """Return the characters and items of a value and of everything inside it. Raises TooMuch beyond MOST_VALUE."""
    if isinstance(value, str | bytes):
        size = len(value)
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth > _MOST_DEPTH:
            raise TooMuch("a value is nested too deeply")
        size = len(value)
        for item in value.items() if isinstance(value, Mapping) else value:
            size += _size(item, depth + 1)
            if size > MOST_VALUE:
                break
    else:
        size = 1
    if size > MOST_VALUE:
        raise TooMuch(_TOO_LARGE)
    return size


def _text(value: Any) -> str:
    _size(value)
    return value if isinstance(value, str) else str(value)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, Iterable):
        raise TooMuch("undefined value: a list is needed")
    found = list(value)
    _size(found)
    return found


def _attribute(item: Any, path: Any) -> Any:
    for name in _text(path).split("."):
        if isinstance(item, Mapping) and name in item:
            item = item[name]
        elif isinstance(item, list | tuple) and name.isdigit() and int(name) < len(item):
            item = item[int(name)]
        else:
            raise TooMuch(f"undefined value: there is no {name}")
    return item


def _whole(value: Any, most: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not value.is_integer()):
        raise TooMuch(f"{name}: takes a whole number")
    if not 0 <= value <= most:
        raise TooMuch(f"{name}: takes a number from 0 to {most}")
    return int(value)


def _number(value: float) -> float:
    if isinstance(value, int) and abs(value) > _MOST_NUMBER:
        raise TooMuch("invalid operation: a number is too large")
    return value if isinstance(value, int) or math.isfinite(value) else math.inf
