"""The part of minijinja's language that a template may use, and the rewriting that keeps its values small. Knows no environment.

Fuel bounds how many instructions run, not what one of them allocates, and an allocation that fails ends the process. So a
value may grow at few places only, and each of them asks `template_bounds`:

    {% set a = E %}, {% for a in E %}     E becomes (E)|within: nothing that has a name is larger than a bound
    a * b                                 becomes product(a, b)
    a|string, a|list, [a ~ b]             become a|string|within and so on: each makes a text or a list a few times larger, and
                                          in one another they would double it at every step
    {% for %}                             asks tick() in each round whether the rendering has had its time
    |filter, function(), .method()        are listed here; those that make more of less are our own

What is left, one expression without a name, adds up at most as many values as a tag has tokens. Everything else is refused when
a file is loaded: macros, includes, `safe` and `autoescape`, which would let a payload through, and tags that are too long.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from gateway.sinks.text.template_words import BOUNDED_FILTERS, FUNCTIONS, GROWING_FILTERS, METHODS, NATIVE_FILTERS, TAGS

MOST_TOKENS = 250
"""Tokens of one tag. minijinja's own recursion ends the process at about 15,000."""
MOST_TAGS = 1000
_MOST_ARGUMENTS = 8
"""Values of one call: minijinja passes each of them as a whole, before the function can refuse it."""
_OBJECTS = {"loop": frozenset(("cycle", "changed")), "self": None}
"""Objects with methods of their own; None permits any method."""
_WORDS = frozenset(["and", "or", "not", "in", "is", "if", "else"])
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)"""
    r"""|(?P<sign>\*\*|//|==|!=|<=|>=|[-+*/%~|.,:()\[\]{}<>=])""",
    re.DOTALL,
)
_ENDS = {"{{": re.compile(r"[-+]?\}\}"), "{%": re.compile(r"[-+]?%\}")}
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_PATH = frozenset(("name", "."))


class ForbiddenTemplate(ValueError):
    """A template that uses something that no template may use."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(wrong)
        self.line = line


class _Token(Struct, frozen=True):
    kind: str
    """`name`, `string`, `number`, or the sign itself."""
    text: str
    space: str
    """The white space in front of the token."""


class _Tag(Struct, frozen=True):
    start: int
    end: int
    opening: str
    closing: str
    tokens: list[_Token]
    rest: str
    """The white space before the end of the tag."""


def bounded(source: str) -> str:
    """Return the template with bounded growth, and with its lines where they were. Raises Refused."""
    tags = _tags(source)
    if len(tags) > MOST_TAGS:
        raise ForbiddenTemplate(_line(source, tags[MOST_TAGS].start), f"has more than {MOST_TAGS} tags")
    texts = _texts_of_loops(source, tags)
    parts, at = [], 0
    for tag in tags:
        try:
            inside = _rewritten(tag, texts.get(tag.start, 0))
        except ForbiddenTemplate as error:
            raise ForbiddenTemplate(_line(source, tag.start), str(error)) from None
        parts += [source[at : tag.start], tag.opening, inside, tag.rest]
        # The end of the tag comes after the look at the clock, because it may remove the blanks after it.
        parts += ["%}{% set _ = tick() ", tag.closing] if tag.start in texts else [tag.closing]
        at = tag.end
    return "".join((*parts, source[at:]))


def _tags(source: str) -> list[_Tag]:
    found, at = [], 0
    while (begin := re.compile(r"\{[{%#]").search(source, at)) is not None:
        if begin[0] == "{#":
            end = source.find("#}", begin.end())
            if end < 0:
                raise ForbiddenTemplate(_line(source, begin.start()), "syntax error: a comment that does not end")
            at = end + 2
        else:
            found.append(_tag(source, begin.start()))
            at = found[-1].end
    return found


def _tag(source: str, start: int) -> _Tag:
    kind, at = source[start : start + 2], start + 2
    if source[at : at + 1] in ("-", "+"):
        at += 1
    tokens: list[_Token] = []
    opening, space, depth = source[start:at], "", 0
    while at < len(source):
        if depth == 0 and (end := _ENDS[kind].match(source, at)) is not None:
            return _Tag(start, end.end(), opening, end[0], tokens, space)
        token = _TOKEN.match(source, at)
        if token is None:
            break
        at = token.end()
        if token.lastgroup == "space":
            space = token[0]
            continue
        tokens.append(_Token(token[0] if token.lastgroup == "sign" else str(token.lastgroup), token[0], space))
        space = ""
        depth += (token[0] in _PAIRS) - (token[0] in _PAIRS.values()) if token.lastgroup == "sign" else 0
        if len(tokens) > MOST_TOKENS:
            raise ForbiddenTemplate(_line(source, start), f"a tag has more than {MOST_TOKENS} words and signs; split it")
    raise ForbiddenTemplate(
        _line(source, start), "syntax error: a tag that does not end, or a sign that the language does not have"
    )


def _texts_of_loops(source: str, tags: Sequence[_Tag]) -> dict[int, int]:
    """Return how many characters of text one round of each `for` writes, without the loops in it, by the start of the `for`."""
    found: dict[int, int] = {}
    open_loops: list[int] = []
    at = 0
    for tag in tags:
        if open_loops:
            found[open_loops[-1]] += tag.start - at
        at = tag.end
        word = tag.tokens[0].text if tag.opening.startswith("{%") and tag.tokens else ""
        if word == "for":
            open_loops.append(tag.start)
            found[tag.start] = 0
        elif word == "endfor" and open_loops:
            open_loops.pop()
    return found


def _rewritten(tag: _Tag, text: int) -> str:
    tokens = tag.tokens
    if tag.opening.startswith("{{"):
        return _expression(tokens)
    word = tokens[0].text if tokens else ""
    if word not in TAGS:
        raise ForbiddenTemplate(0, f'a template has no "{word}"; there is {", ".join(sorted(TAGS))}')
    head, rest = f"{tokens[0].space}{word}", tokens[1:]
    if word == "for":
        return head + _loop(rest, text)
    if word == "set" and (equals := _at_top(rest, "=")) is not None:
        target, value = rest[: equals + 1], rest[equals + 1 :]
        return head + _written(target) + (_expression(value) if _is_path(value) else f" ({_expression(value)})|within")
    if word in ("if", "elif", "set"):
        return head + _expression(rest)
    return head + _written(rest)


def _loop(rest: Sequence[_Token], text: int) -> str:
    begin = _at_top(rest, "in")
    if begin is None:
        raise ForbiddenTemplate(0, "syntax error: a loop is for NAME in VALUES")
    end = _at_top(rest, "if", begin)
    values, condition = rest[begin + 1 : end], rest[end:] if end is not None else []
    if any(token.text == "recursive" and token.kind == "name" for token in rest):
        raise ForbiddenTemplate(0, "a loop can't be recursive")
    return f"{_written(rest[: begin + 1])} ({_expression(values)})|within({text}){_expression(condition)}"


def _at_top(tokens: Sequence[_Token], text: str, start: int = 0) -> int | None:
    """Return the position of a word or sign outside all brackets; None if there is none."""
    depth = 0
    for number, token in enumerate(tokens):
        if token.kind in _PAIRS or token.kind in _PAIRS.values():
            depth += 1 if token.kind in _PAIRS else -1
        elif depth == 0 and number >= start and token.text == text and token.kind in ("name", text):
            return number
    return None


def _is_path(tokens: Sequence[_Token]) -> bool:
    """Return whether an expression is a name with attributes: it has a bound already, and a missing value stays undefined."""
    return all(token.kind in _PATH for token in tokens)


def _written(tokens: Sequence[_Token]) -> str:
    return "".join(token.space + token.text for token in tokens)


def _expression(tokens: Sequence[_Token]) -> str:
    """Return an expression with `a * b` as `product(a, b)`. Raises Refused if it calls something that is not listed."""
    out, chain, at = [""], 0, 0  # `chain` is where the factors before the next sign begin
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "*":
            right, at = _operand(tokens, at + 1)
            out[chain:] = [f" product({''.join(out[chain:])}, {right})"]
        elif token.kind in ("/", "//", "%", "**"):
            right, at = _operand(tokens, at + 1)
            out.append(f"{token.space}{token.text}{right}")
        elif _begins_operand(token):
            text, at = _operand(tokens, at)
            chain = len(out)
            out.append(text)
        else:
            out.append(token.space + token.text)
            at += 1
            chain = len(out)
    return "".join(out)


def _begins_operand(token: _Token) -> bool:
    return token.kind in ("string", "number", *_PAIRS) or (token.kind == "name" and token.text not in _WORDS)


def _operand(tokens: Sequence[_Token], at: int) -> tuple[str, int]:
    """Return a value with its attributes, items, calls, filters and powers, and the position of its end."""
    begun, text = at, ""
    while at < len(tokens) and tokens[at].kind in ("-", "+"):
        text += tokens[at].space + tokens[at].text
        at += 1
    if at >= len(tokens) or not _begins_operand(tokens[at]):
        raise ForbiddenTemplate(0, "syntax error: a value is missing")
    first = at
    inside, at = _group(tokens, at) if tokens[at].kind in _PAIRS else (_written(tokens[at : at + 1]), at + 1)
    holds_values = tokens[first].kind in ("[", "{") or _at_top(tokens[first + 1 : at - 1], ",") is not None
    text += f"({inside}|within)" if holds_values and _may_grow(tokens[first:at]) else inside
    while at < len(tokens):
        kind = tokens[at].kind
        if kind in (".", "|"):
            if at + 1 >= len(tokens) or tokens[at + 1].kind not in ("name", "number"):
                raise ForbiddenTemplate(0, f'syntax error: a name is missing after "{kind}"')
            name = tokens[at + 1].text
            text += _written(tokens[at : at + 2])
            at += 2
            if kind == "|":
                _check_filter(name)
                if at < len(tokens) and tokens[at].kind == "(":
                    inside, at = _arguments(tokens, at)
                    text += inside
                text += "|within" if name in GROWING_FILTERS else ""
        elif kind == "(":
            _check_call(tokens[first:at], tokens[begun - 1] if begun else None)
            inside, end = _arguments(tokens, at)
            if tokens[at - 1].text == "cycle" and end == at + 2:
                raise ForbiddenTemplate(0, "loop.cycle needs at least one value")
            text += inside
            if tokens[at - 1].text == "dict" and _may_grow(tokens[at:end]):
                text = f"({text}|within)"
            at = end
        elif kind == "[":
            inside, at = _group(tokens, at)
            text += inside
        elif kind == "**":
            right, end = _operand(tokens, at + 1)
            text, at = f"{text}{tokens[at].space}**{right}", end
        else:
            break
    return text, at


def _arguments(tokens: Sequence[_Token], at: int) -> tuple[str, int]:
    """Return the brackets of a call, as `_group` does. Raises Refused if there are too many values."""
    inside, end = _group(tokens, at)
    depth = commas = 0
    for token in tokens[at:end]:
        depth += (token.kind in _PAIRS) - (token.kind in _PAIRS.values())
        commas += depth == 1 and token.kind == ","
    if commas >= _MOST_ARGUMENTS:
        raise ForbiddenTemplate(0, f"a call has more than {_MOST_ARGUMENTS} values")
    return inside, end


def _may_grow(group: Sequence[_Token]) -> bool:
    """Return whether brackets hold a value that is made here: nested brackets could double such a value again and again."""
    return any(token.kind in ("|", "~") for token in group)


def _group(tokens: Sequence[_Token], at: int) -> tuple[str, int]:
    """Return brackets and their content as an expression, and the position of their end."""
    depth = 0
    for end in range(at, len(tokens)):
        depth += (tokens[end].kind in _PAIRS) - (tokens[end].kind in _PAIRS.values())
        if depth == 0:
            opening, closing = tokens[at], tokens[end]
            return f"{opening.space}{opening.text}{_expression(tokens[at + 1 : end])}{closing.space}{closing.text}", end + 1
    raise ForbiddenTemplate(0, f'syntax error: a "{tokens[at].text}" that is not closed')


def _check_filter(name: str) -> None:
    if name not in NATIVE_FILTERS | BOUNDED_FILTERS:
        raise ForbiddenTemplate(
            0, f'a template has no filter "{name}"; there is {", ".join(sorted(NATIVE_FILTERS | BOUNDED_FILTERS))}'
        )


def _check_call(called: Sequence[_Token], before: _Token | None) -> None:
    """Refuse a call of something that is not listed.

    Args:
        called: the tokens of the value so far.
        before: the token in front of them.
    """
    name = called[-1]
    if name.kind != "name":
        raise ForbiddenTemplate(0, "only functions, filters and methods can be called")
    if len(called) == 1:
        if not (before is not None and before.text in ("is", "not")) and name.text not in FUNCTIONS:
            raise ForbiddenTemplate(0, f'a template has no function "{name.text}"; there is {", ".join(sorted(FUNCTIONS))}')
        return
    if called[-2].kind == "|":
        return
    own = _OBJECTS.get(called[0].text, METHODS) if len(called) == 3 and called[0].kind == "name" else METHODS
    if own is not None and name.text not in own:
        raise ForbiddenTemplate(0, f'a template has no method "{name.text}"; there is {", ".join(sorted(METHODS))}')


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1
