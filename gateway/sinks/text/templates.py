"""The texts of messages, from minijinja templates: a built-in one per sink type and locale, or the operator's file in its place.

A file has blocks with the names of the parts of a message (`TemplateKind.parts`). The built-in template provides each block that
the file lacks; a file without any block is the text. No message is lost to a template: if a file fails at run time, the built-in
template replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec
from minijinja import Environment, TemplateError
from msgspec import Struct

from gateway.core.events import event_of
from gateway.core.records import message_about
from gateway.core.samples import SAMPLES
from gateway.host.clock import Clock
from gateway.host.environment import read_regular
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.text.both_events import both_events, main_event
from gateway.sinks.text.language import Language, Photo, Telling, printable, tell
from gateway.sinks.text.template_bounds import Bounds, TooMuch
from gateway.sinks.text.template_language import ForbiddenTemplate, bounded

MOST_TEXT = 8 * 1024
"""Bytes (UTF-8) of a text."""
MOST_HTML = 64 * 1024
"""Bytes of HTML, which cannot be cut. Mail programs hide the text after about 100 KiB."""
_MOST_FILE = 64 * 1024
_FUEL = 200_000
"""Instructions of one rendering, so that an endless loop ends."""
_MOST_EVENT = 1024 * 1024
"""Bytes of a body whose values a template reads."""
_MOST_SAID = 4 * 1024 * 1024
"""Characters of values in one rendering."""
_ROOM = 7_000
"""Bytes of MOST_TEXT for the parts that change from message to message."""
_MOST_FACT = 500
_MOST_SIDE = 200
_MOST_GUIDANCE = 1_500

Escape = Literal["html", "none"] | Callable[[str], str]
"""The treatment of each value in a block: `html` escapes it for HTML, `none` leaves it, and a function escapes it itself."""


class TemplateKind(Struct, frozen=True):
    """The templates of one sink type."""

    package: str
    """The package that has the built-in templates, in `templates/<locale>/`."""
    file: str
    """The name of each built-in template."""
    parts: tuple[tuple[str, Escape], ...]
    """The blocks of a template, and the treatment of the values in them."""
    forbidden: tuple[re.Pattern[str], str] | None = None
    """Text that no template of this kind may have, and why."""


VARIABLES = frozenset(
    (*(name for name in Telling.__struct_fields__ if name != "state_before"), "state", "more", "event", "partner")
)
"""The variables of a template: the fields of a `Telling` (one of them as `state.before`), `more` for the number of photos
that were cut, and `event` for the values of the event as they came. If the message tells a whole rejection, `event` is its
media_rejected and `partner` its QC/REJECTED; else `partner` is empty."""
_OF_EVENTS = frozenset(("event", "partner"))
_FUNCTIONS = {"super", "self", "range", "dict"}
_BLOCK = re.compile(r"\{%[-+]?\s*block\s+(\w+)")
_PLACE = re.compile(r" \(in \S+:\d+\)$")
"""The place that minijinja adds to an error. It knows no file, and our own text begins with the line."""
_FAILED = "the template engine failed; simplify the template"
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_EXTENDS = re.compile(r"\{%[-+]?\s*extends\s")


class TemplateProblem(ValueError):
    """A file that cannot be a template. The text begins with the file, and the line if there is one."""

    def __init__(self, file: str | Path, line: int | None, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class Rendered(Struct, frozen=True):
    parts: dict[str, str]
    """The text of each part, without control characters except line breaks and tabs."""
    own: frozenset[str]
    """The parts that the operator's file wrote."""
    failed: str = ""
    """Why the built-in template replaces the file; "" if it does not."""


class Template:
    """The template by which a sink renders its messages."""

    def __init__(self, kind: TemplateKind, locale: Locale, file: str | None = None, clock: Clock | None = None) -> None:
        """Raises TemplateProblem if the file cannot work with any event.

        Args:
            file: a path.
            clock: ends a rendering that takes too long; None is the clock of this host.
        """
        self._kind = kind
        self._locale = locale
        self._file = file
        self._source = read_template(file) if file else ""
        self._own = frozenset(_blocks(self._source)) or frozenset({"text"} if file else ())
        self._uses_event = False
        self._environments: dict[Escape, Environment] = {}
        if file:
            self._check(file)
            self._environments = {escape: self._environment(escape, clock or Clock()) for _, escape in kind.parts}

    def render(self, delivery: Outgoing, telling: Telling) -> Rendered:
        if self._file is None:
            return Rendered(_built_in(self._kind, self._locale, telling), frozenset())
        try:
            return Rendered(self._render(delivery, telling), self._own)
        except BaseException as error:  # a message is never lost to a template, whatever fails
            _raise_what_is_not_its_own(error)
            why = str(self._problem(error))
            return Rendered(_built_in(self._kind, self._locale, telling), frozenset(), why)

    def trial(self) -> Iterator[tuple[str, TemplateProblem, bool]]:
        """Render every sample, and a whole rejection.

        Yield the name of each one that fails, the reason, and whether the failure depends on the event.

        It depends on the event if the file reads the event's values, which differ from event to event.
        """
        for name, delivery in _trials():
            try:
                self._render(delivery, tell(delivery, Language(self._locale), "https://example.com/{message_id}"))
            except BaseException as error:
                _raise_what_is_not_its_own(error)
                yield name, self._problem(error), self._uses_event

    def _check(self, file: str) -> None:
        parts = dict(self._kind.parts)
        if _EXTENDS.search(self._source):
            raise TemplateProblem(
                file,
                _line_of("extends", self._source),
                "must not use extends: blocks that it lacks are taken from the built-in template",
            )
        try:
            bounded(self._source)
        except ForbiddenTemplate as error:
            raise TemplateProblem(file, error.line, str(error)) from None
        try:
            unknown = Environment().undeclared_variables_in_str(self._source) - VARIABLES - _FUNCTIONS
            self._uses_event = not _OF_EVENTS.isdisjoint(Environment().undeclared_variables_in_str(self._source))
            Environment().undeclared_variables_in_str(bounded(self._source))  # its brackets are deeper, perhaps too deep
        except TemplateError as error:
            raise self._problem(error) from None
        for name in sorted(unknown):
            hint = f"there is {', '.join(sorted(VARIABLES))}"
            raise TemplateProblem(file, _line_of(name, self._source), f'unknown variable "{name}"; {hint}')
        if self._kind.forbidden is not None:
            pattern, why = self._kind.forbidden
            if (found := pattern.search(self._source)) is not None:
                raise TemplateProblem(file, self._source.count("\n", 0, found.start()) + 1, why)
        for name in _blocks(self._source):
            if name not in parts:
                hint = f"there is {', '.join(parts)}"
                raise TemplateProblem(file, _line_of(name, self._source), f'unknown block "{name}"; {hint}')

    def _render(self, delivery: Outgoing, telling: Telling) -> dict[str, str]:
        values = _values(telling)
        if self._uses_event:
            if len(delivery.body) + (len(delivery.partner.body) if delivery.partner else 0) > _MOST_EVENT:
                raise TooMuch("the event is larger than 1 MiB, and the template reads its values")
            event, both = main_event(delivery), both_events(delivery)
            values["event"] = event.values if event else {}
            values["partner"] = both.rejection.values if both else {}
        return _parts(self._kind, self._environments, values)

    def _environment(self, escape: Escape, clock: Clock) -> Environment:
        source = bounded(self._source)
        if not _blocks(source):
            source = "{% block text %}" + source + "{% endblock %}"
        # On the first line, so that errors name the lines of the file.
        return _environment(self._kind, self._locale, escape, '{% extends "built-in" %}' + source, clock)

    def _problem(self, error: BaseException) -> TemplateProblem:
        if isinstance(error, TemplateError):
            return TemplateProblem(self._file or "", error.line, _PLACE.sub("", error.message.partition("\n")[0]))
        if isinstance(error, TemplateProblem):
            return error
        if isinstance(error, TooMuch):
            return TemplateProblem(self._file or "", None, str(error))
        said = _FAILED if _is_panic(error) else type(error).__name__
        return TemplateProblem(self._file or "", None, said)


def _trials() -> Iterator[tuple[str, Outgoing]]:
    """Yield a delivery of each sample, and one of a whole rejection."""
    messages = {
        name: message_about(event_of(values), msgspec.json.encode(values), message_id="0", source="", received_at=0.0)
        for name, values in SAMPLES.items()
    }
    for name, message in messages.items():
        yield name, Outgoing("0-x", message, attempt=1)
    yield "a joined rejection", Outgoing("0-x", messages["qc_rejected"], attempt=1, partner=messages["needs_resubmission"])


def _is_panic(error: BaseException) -> bool:
    """Return whether an error is a fault inside minijinja, which pyo3 raises as a BaseException."""
    return type(error).__name__ == "PanicException"


def _raise_what_is_not_its_own(error: BaseException) -> None:
    """Raise an error again that ends the process on purpose, such as KeyboardInterrupt."""
    if not isinstance(error, Exception) and not _is_panic(error):
        raise error


def escape_slack(text: str) -> str:
    """Escape exactly the three characters that Slack asks for (docs.slack.dev, "Formatting message text": escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, most: int) -> str:
    """Cut a text to at most `most` bytes of UTF-8. A text that was cut ends in "…"."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"


def read_template(file: str | Path) -> str:
    """Return the text of a template file. Raises TemplateProblem."""
    path = Path(file)
    try:
        raw = read_regular(path, _MOST_FILE + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise TemplateProblem(file, None, f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TemplateProblem(file, raw.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    if len(raw) > _MOST_FILE:
        raise TemplateProblem(file, None, "is longer than 64 KiB")
    return text.replace("\r\n", "\n")


def _blocks(source: str) -> list[str]:
    """Return the names of the blocks outside comments."""
    return _BLOCK.findall(_COMMENT.sub("", source))


def _line_of(name: str, source: str) -> int:
    """Return the line of the first tag that has the word."""
    for tag in re.finditer(r"\{[{%].*?[}%]\}", source, re.DOTALL):
        if word := re.search(rf"\b{name}\b", tag[0]):
            return source.count("\n", 0, tag.start() + word.start()) + 1
    return 1


def _values(telling: Telling) -> dict[str, Any]:
    """Return the variables of a template, cut so that the built-in text fits into MOST_TEXT. Photos get the remaining room."""
    facts = [(label, cut(value, _MOST_FACT)) for label, value in telling.facts]
    headline, advice = cut(telling.headline, _MOST_FACT), cut(telling.advice, _MOST_FACT)
    room = _ROOM - sum(_size(text) for text in (headline, advice, telling.late, telling.link or ""))
    room -= sum(_size(label) + _size(value) + 5 for label, value in facts)
    photos: list[dict[str, str]] = []
    for photo in telling.photos:
        texts = _photo(photo)
        room -= sum(_size(text) + 6 for text in texts.values())
        if room < 0:
            break
        photos.append(texts)
    values: dict[str, Any] = {name: getattr(telling, name) for name in Telling.__struct_fields__}
    values |= {"facts": facts, "headline": headline, "advice": advice, "state": {"before": values.pop("state_before")}}
    return values | {"photos": photos, "more": len(telling.photos) - len(photos)}


def _size(text: str) -> int:
    """Return the bytes of a text that is escaped for Slack, where an ampersand takes five. A mail never takes more."""
    return len(escape_slack(text).encode("utf-8", "replace"))


def _photo(photo: Photo) -> dict[str, str]:
    return {
        "side": cut(photo.side, _MOST_SIDE),
        "reason": cut(photo.reason, _MOST_FACT),
        "guidance": cut(photo.guidance, _MOST_GUIDANCE),
    }


def _parts(kind: TemplateKind, environments: dict[Escape, Environment], values: dict[str, Any]) -> dict[str, str]:
    """Render every part. Raises TemplateError, or TemplateProblem if the HTML is too long."""
    found = {}
    for name, escape in kind.parts:
        if isinstance(meter := environments[escape].finalizer, _Finalizer):
            meter.begin()
        said = printable(environments[escape].render_template(name, **values), also="\n\t").strip("\n")
        if escape == "html" and len(said.encode()) > MOST_HTML:
            raise TemplateProblem("html", None, "is longer than 64 KiB")
        found[name] = said if escape == "html" else cut(said, MOST_TEXT)
    return found


def _built_in(kind: TemplateKind, locale: Locale, telling: Telling) -> dict[str, str]:
    return _parts(kind, _built_in_environments(kind, locale), _values(telling))


@lru_cache
def _built_in_environments(kind: TemplateKind, locale: Locale) -> dict[Escape, Environment]:
    source = '{% extends "built-in" %}'
    return {escape: _environment(kind, locale, escape, source, Clock()) for _, escape in kind.parts}


def _environment(kind: TemplateKind, locale: Locale, escape: Escape, source: str, clock: Clock) -> Environment:
    """Return an environment with a template for each part, which is the source without the other parts."""
    templates = {"built-in": built_in_source(kind, locale), "file": source}
    names = [name for name, _ in kind.parts]
    for part in names:
        others = "".join("{% block " + other + " %}{% endblock %}" for other in names if other != part)
        templates[part] = '{% extends "file" %}' + others
    bounds = Bounds(clock)
    environment = Environment(
        templates=templates,
        undefined_behavior="strict",
        auto_escape_callback=lambda name: "html" if escape == "html" else False,
        finalizer=_Finalizer(escape, bounds),
        fuel=_FUEL,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bounds.install(environment)
    return environment


class _Finalizer:
    """Escapes every value, and ends a rendering that says too much: fuel counts instructions, not what they make.

    In HTML it leaves the escaping to minijinja, which escapes every value, whatever its type.
    """

    def __init__(self, escape: Escape, bounds: Bounds) -> None:
        self._escape = escape
        self._bounds = bounds
        self._said = 0

    def begin(self) -> None:
        """Forget the rendering before."""
        self._said = 0
        self._bounds.begin()

    def __call__(self, value: Any) -> Any:
        text = value if isinstance(value, str) else str(value)
        self._said += len(text)
        self._bounds.tick()
        if self._said > _MOST_SAID:
            raise TemplateProblem("a rendering", None, "says more than 4 MiB")
        return value if isinstance(self._escape, str) else self._escape(text)


def built_in_source(kind: TemplateKind, locale: Locale) -> str:
    return files(kind.package).joinpath("templates", locale, kind.file).read_text(encoding="utf-8")
