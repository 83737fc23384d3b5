"""Keeps pasted secrets out of all output about a configuration: messages, places, hints and quoted lines.

A text in a file is a suspect if it looks like a secret, or if it is in a place where a secret is expected. That holds in any
layout, and even if the file is not TOML. The output about the file is then cleaned of every part of a suspect.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date, time
from itertools import zip_longest
from typing import Any

from msgspec import structs

from gateway.config.known_keys import TABLES, known_keys
from gateway.config.memo import Memo, Same
from gateway.core.errors import Problem
from gateway.sinks import SINK_TYPES

_PIECE = 6
"""Characters. The shortest part of a suspect that is never shown."""
_NAMED = ("sources", "sinks")
_OF_TABLES = (*_NAMED, "admin", "reconcile", "store")
"""Tables with secrets in them. A value written in place of such a table may be a secret."""
_DEPTH = 2
"""The number of keys down to one sink, source, route or test."""
_FREE = ("routes", "tests")
"""Tables whose keys are fields of events, not settings. Only the form of a text decides there."""
SENSITIVE = re.compile(r"(?i)secret|token|passw|bearer|basic|url|proxy|header|auth|key|credential|whsec_|xox[a-z]-")
"""Names of keys whose value may be a secret."""
_PLACES = ("env", "file", "credential")
_PATHS = ("certificate", "key")
"""Keys whose values are paths. A private key that is pasted there is recognised by its form."""
_UNMISTAKABLE = re.compile(
    r"wh(?:sec|sk)_[A-Za-z0-9+/=_-]{6}|leo_[A-Za-z0-9_-]{6}|-----BEGIN[A-Z ]*PRIVATE KEY|(?i:xox[a-z]-|xapp-)[A-Za-z0-9-]{6}"
    r"|(?:gh[pousr]|github_pat)_[A-Za-z0-9]{6}|glpat-[A-Za-z0-9_-]{6}|[sr]k_(?:live|test)_[A-Za-z0-9]{6}|AKIA[A-Z0-9]{12}"
    r"|eyJ[A-Za-z0-9_-]{6,}\.|(?i:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/.)"
)
_WORD = r"[^\s\"'\[\]{}<>`]"
_KNOWN = re.compile(rf"(?:{_UNMISTAKABLE.pattern}|whsec_|(?i:xox[a-z]-)){_WORD}*")
"""A secret from its known prefix to the end of the word."""
_IN_WORD = re.compile(_WORD)
_SHAPED = re.compile(
    r"(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}"
    r"|(?<=://)[^\"'\n]+@|(?<![A-Za-z0-9])(?!mailto:)[^\s\"'@:/=]{1,64}:[^\s\"'@]{1,256}@"  # a user name and a password
    r"|-----(?:BEGIN|END)[^\n]*"
    r"|(?<![A-Za-z0-9+/=_-])(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[A-Z])(?=[A-Za-z0-9+/_-]*[a-z])[A-Za-z0-9+/_-]{20,}=*"
    r"|(?<![A-Za-z0-9])(?=[a-f0-9]*[a-f])(?=[a-f0-9]*[0-9])[a-f0-9]{20,}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])(?=[A-F0-9]*[A-F])(?=[A-F0-9]*[0-9])[A-F0-9]{20,}(?![A-Za-z0-9])"
)
"""Other texts that look like secrets: a user name with a password, or long base64 or hexadecimal digits."""
_PEM = re.compile(r"-----BEGIN.*?(?:-----END[^\n]*|\Z)", re.DOTALL)
_PAIR = re.compile(r"""(?:^|(?<=[{,\s]))("[^"\n]*"|'[^'\n]*'|[^\s"'\[\]{},=#]+)\s*=""")
_HEADER = re.compile(rf"\s*\[\[?\s*(['\"]?)({'|'.join(TABLES)})\1\s*([.\]].*|$)")
_OTHER_HEADER = re.compile(r"\s*\[\[?[A-Za-z0-9_. -]+\]{0,2}\s*(?:#.*)?")
_QUOTED = re.compile(r"\"((?:\\.|[^\"\\])*)\"?|'([^']*)'?")
_ODD_START = re.compile(r"\s*(?!(?:true|false)\b)(?:[A-Za-z]|[\"'][^\"']*[\"']\s*[^\s,\]}])")
"""A line that begins with a word without a = after it is not TOML: `token: x`, `export token=x`, `"token" { "x" = 1 }`."""
_JSON_START = re.compile(r"\s*[\[{]*\s*\"[^\"]*\"\s*:")
_PROSE = re.compile(r"[\"']|^\s*#")
"""Texts in quotes, which are separate suspects, and comments."""
_COMMENT = re.compile(r"""((?:[^#"'\n]|"(?:\\.|[^"\\])*"|'[^']*')*)#(.*)""")
"""A line of a TOML file with a comment after it: a # in quotes begins none."""
_PROSE_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?[.:;?!]*")
_BRACKETS = " \t\r,[]{}"
_TOKEN = re.compile(r"[^\s\"'\[\]{},]+")
_PLAIN_TOKEN = re.compile(r"[+-]?[0-9][0-9._:TZ-]*|true|false")
_ORIGIN = re.compile(r"^\s*https?://[^/?#@]*(?=[/?#]|\s*$)")
"""The part of a URL that is never secret."""
_NAME_OF_A_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_OWN_WORDS = (
    "secrets password bearer token whsec_ https:// http:// webhooks gateway legitmark credential certificate"
    " environment variable private public example internal localhost server.tls support operate"
)


def is_unmistakable(text: str) -> bool:
    """Return True if a text is certainly a secret in any place: a signing secret, a token of a known kind, a private key."""
    return _UNMISTAKABLE.search(text) is not None


def looks_secret(text: str) -> bool:
    """Return True if a text looks like a secret. Use it only for hiding, because some paths and names look like one too."""
    return _KNOWN.search(text) is not None or _SHAPED.search(text) is not None


def pasted(value: Any, memo: Memo, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], bool]]:
    """Yield the place of each certain secret in a document: the keys down to it, and True if the last key itself is the secret.

    The events of tests are not searched, because they imitate the texts of a sender.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if is_unmistakable(key):
                yield (*keys, key), True
            elif (keys[:1], key) != (("tests",), "event"):
                yield from _pasted(inner, memo, (*keys, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _pasted(inner, memo, (*keys, number))
    elif isinstance(value, str) and is_unmistakable(value):
        yield keys, False


def _pasted(value: Any, memo: Memo, keys: tuple[str | int, ...]) -> Iterable[tuple[tuple[str | int, ...], bool]]:
    """Do the same as `pasted`, but search each sink, source, route and test only once while it is unchanged."""
    if len(keys) != _DEPTH:
        return pasted(value, memo, keys)
    return memo.get(("pasted", keys, Same(value)), lambda: list(pasted(value, memo, keys)))


class Cleaner:
    """Removes the secrets of some files from the output about them."""

    def __init__(self, texts: Iterable[str]) -> None:
        suspects = {suspect for text in texts for suspect in _suspects(text)}
        ours = _pieces(_harmless())
        self._pieces = {piece for suspect in suspects for piece in _pieces(suspect)} - ours

    def problem(self, problem: Problem) -> Problem:
        return structs.replace(
            problem,
            place=self.words(problem.place),
            wrong=self.words(problem.wrong),
            hint=self.words(problem.hint),
            source=self.line(problem.source),
        )

    def words(self, text: str) -> str:
        """Return a text with `***` in place of each part that may be a secret."""
        hidden = self._hidden(text)
        return "".join(
            "***" if hide and (at == 0 or not hidden[at - 1]) else "" if hide else text[at] for at, hide in enumerate(hidden)
        )

    def line(self, text: str) -> str:
        """Return a line with a star for each character that may belong to a secret, so that the caret below it still fits."""
        return "".join("*" if hide else text[at] for at, hide in enumerate(self._hidden(text)))

    def _hidden(self, text: str) -> list[bool]:
        hidden = [False] * len(text)
        for start, end in _shaped(text):
            if end - start >= _PIECE + 1:
                hidden[start:end] = [True] * (end - start)
        for at in range(len(text) - _PIECE + 1):
            if text[at : at + _PIECE] in self._pieces:
                hidden[at : at + _PIECE] = [True] * _PIECE
        return hidden


def _shaped(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each text that looks like a secret. A secret with a known prefix extends to a whole word.

    The search for the beginning of the word goes backwards, so that a file without spaces, such as a database, takes no longer.
    """
    end = 0
    for match in _KNOWN.finditer(text):
        start = match.start()
        while start > end and _IN_WORD.match(text, start - 1) is not None:
            start -= 1
        end = match.end()
        yield start, end
    yield from (match.span() for match in _SHAPED.finditer(text))


def _harmless() -> str:
    """Return words that reveal nothing. A part of a suspect that is also a part of these words is shown."""
    return " ".join([*known_keys(), *TABLES, *_PLACES, *SINK_TYPES, _OWN_WORDS])


def _pieces(text: str) -> set[str]:
    text = _ORIGIN.sub("", text)
    return {text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)}


def _suspects(text: str) -> Iterator[str]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        yield from _of_text(text, broken=True)
        return
    yield from _of_text(text, broken=False)
    yield from _of_toml(document)


def _of_text(text: str, *, broken: bool) -> Iterator[str]:
    """Yield the suspects of a file, read line by line, so that it need not be TOML.

    Args:
        broken: The file is not TOML, so a text before a = may not be a key.
    """
    yield from (text[start:end] for start, end in _shaped(text))
    for match in _PEM.finditer(text):
        yield from match[0].split("\n")
    first_key = re.compile(rf"^\s*(?:{'|'.join(known_keys())})\s*:?(?=\s|$)")
    free = below = hiding = False
    for line in text.split("\n"):
        if (header := _HEADER.match(line)) is not None and "=" not in line.partition("#")[0]:
            inner = header[3].partition("#")[0].split(".", 2 if header[2] in _NAMED else 1)
            below = len(inner) > 1 + (header[2] in _NAMED) and SENSITIVE.search(inner[-1]) is not None
            free, hiding = header[2] in _FREE or inner[-1].strip("] ") == "identity", below
            if below:
                yield from _names_below(inner[-1].rstrip("] \t\r"))
            continue
        if not (hiding and broken) and _OTHER_HEADER.fullmatch(line):
            free = below = hiding = False
            continue
        comment = None if broken else _COMMENT.fullmatch(line)
        line = line if comment is None else comment[1]
        pairs = list(_PAIR.finditer(line))
        before = line[: pairs[0].start()] if pairs else line
        hiding = hiding or (broken and _ODD_START.match(before) is not None)
        if broken and _JSON_START.match(line) is not None:
            yield from _parts(line)
        if hiding:
            yield from _parts(first_key.sub("", before))
            if broken and _PROSE.search(before) is None:
                yield first_key.sub("", before).strip(_BRACKETS)  # a password may contain spaces and brackets
        elif not pairs:  # no key and no quotes: a secret may have been pasted on its own line
            bare = _QUOTED.sub("", before.partition("#")[0])
            yield from (token.strip(":") for token in _TOKEN.findall(bare) if _PLAIN_TOKEN.fullmatch(token) is None)
        for pair, following in zip_longest(pairs, pairs[1:]):
            if hiding and broken:
                yield from _parts(pair[1])
            key, written = pair[1].strip("\"'"), line[pair.end() : following.start() if following else len(line)]
            if (kind := key.split(".")[-1]) in _PLACES:
                place = _QUOTED.match(written.lstrip())
                text = "" if place is None else place[1] if place[1] is not None else place[2]
                if place is not None and not hides_place(kind, text):
                    written = written.lstrip()[place.end() :]
                    if hiding:
                        yield from _parts(written)
                else:
                    yield from _parts(written)
                continue  # the next element of a list of references may be the secret itself
            hiding = _hides(key, free=free, below=below, so_far=hiding)
            if hiding:
                yield from _names_below(key)
                yield from _parts(written)
                if broken and _PROSE.search(written) is None:
                    yield written.strip(_BRACKETS)
        if hiding and comment is not None:  # an apostrophe in a comment quotes nothing, and plain words are no secret
            yield from (token for token in _TOKEN.findall(comment[2]) if _PROSE_WORD.fullmatch(token) is None)


def _names_below(key: str) -> Iterator[str]:
    """Yield the names after the dot of a key that holds secrets: `secrets."whatever" = 1`. Header names are not secret."""
    name, _, below = key.partition(".")
    while below and SENSITIVE.search(name) is None:
        name, _, below = below.partition(".")
    if below and name != "headers":
        yield below.strip("\"'")


def _hides(key: str, *, free: bool, below: bool, so_far: bool) -> bool:
    """Return True if the value of a key may be a secret."""
    names = key.split(".")
    if names[-1] in _PATHS:
        return False
    if free and not below:
        return so_far and len(names) == 1 and names[0] not in known_keys()
    return below or any(SENSITIVE.search(name) is not None or name not in known_keys() for name in names)


def _parts(written: str) -> Iterator[str]:
    for match in _QUOTED.finditer(written):
        yield match[1] if match[1] is not None else match[2]
    for token in _TOKEN.findall(written):
        if _PLAIN_TOKEN.fullmatch(token) is None or len(token) > 12 or token.isdecimal():
            yield token


def _of_toml(document: dict[str, Any]) -> Iterator[str]:
    """Yield the suspects among the decoded values of a file, in which TOML's escapes are resolved."""
    for name, table in document.items():
        if name not in _FREE:
            yield from _of_value(table, (name,), hiding=name in _OF_TABLES and not isinstance(table, dict))
        for inner in (name, *_texts(table)):
            yield from (inner[start:end] for start, end in _shaped(inner))


def _of_value(value: Any, keys: tuple[str, ...], *, hiding: bool) -> Iterator[str]:
    if isinstance(value, dict):
        reference = bool(value) and set(value) <= set(_PLACES)
        for key, inner in value.items():
            if reference and isinstance(inner, str):
                if hides_place(key, inner):
                    yield inner
                continue
            settings = len(keys) > (keys[0] in _NAMED)  # otherwise the key is the name of a source or a sink
            hides = hiding or (settings and key not in _PATHS and (SENSITIVE.search(key) is not None or key not in known_keys()))
            if hiding and "headers" not in keys and key not in (*known_keys(), *_PLACES):
                yield key
            if key != "identity":
                yield from _of_value(inner, (*keys, key), hiding=hides)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_value(inner, keys, hiding=hiding)
    elif hiding and not isinstance(value, (bool, date, time)):
        text = str(value)
        yield text
        yield from text.split("\n")


def hides_place(kind: str, written: str) -> bool:
    """Return True if a reference must be hidden, because its text does not look like the name of a variable, file or credential
    and may be the secret itself."""
    if looks_secret(written):
        return True
    if kind == "env":
        return _NAME_OF_A_VARIABLE.fullmatch(written) is None
    if kind == "credential":
        return re.fullmatch(r"[^\W\d]+(?:\d+[^\W\d]*){0,2}", re.sub(r"[.@-]", "", written)) is None
    return kind == "file" and not re.search(r"[/.]", written) and re.search(r"[0-9]", written) is not None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
