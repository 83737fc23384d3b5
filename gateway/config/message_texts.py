"""The rules about the messages that people read: their time zone, link and template. Adds findings, raises nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import partial
from zoneinfo import available_timezones

from gateway.config.decode import suggestion
from gateway.config.location import Finding, Findings, Place
from gateway.config.memo import Memo, Same
from gateway.config.paths import unfit_as_written
from gateway.config.settings import Config
from gateway.core.urls import UrlError, parse_url
from gateway.sinks import EmailConfig
from gateway.sinks.base import ReadableSettings
from gateway.sinks.text.language import LINK_FIELDS, PLACEHOLDER, is_timezone
from gateway.sinks.text.templates import Template, TemplateProblem

_PLACEHOLDERS = f"there is {', '.join(f'{{{name}}}' for name in LINK_FIELDS)}"


def check(config: Config, findings: Findings, memo: Memo) -> None:
    if not is_timezone(config.defaults.timezone):
        findings.append(Finding(config.place("defaults", "timezone"), *_no_timezone(config.defaults.timezone)))
    for name, where, sink in _readable(config):
        if sink.timezone is not None and not is_timezone(sink.timezone):
            findings.append(Finding(where / "timezone", *_no_timezone(sink.timezone)))
        if sink.link is not None and (wrong := _wrong_link(sink.link)) is not None:
            findings.append(Finding(where / "link", *wrong))
        if sink.template is None or unfit_as_written(sink.template, where.file.parent) is not None:
            continue
        if config.templates[name]:  # else it is read anew: why it can't be is not in its text
            key = ("template", Same(sink), where, config.templates[name])
            findings += memo.get(key, partial(_template_findings, sink, where / "template"))
        else:
            findings += _template_findings(sink, where / "template")


def _readable(config: Config) -> Iterator[tuple[str, Place, ReadableSettings]]:
    for name, sink in config.sinks.items():
        if isinstance(sink, ReadableSettings):
            yield name, config.sink_places[name], sink


def _template_findings(sink: ReadableSettings, place: Place) -> list[Finding]:
    """Return one finding at most: an error if the template fails for every event, a warning if it fails for some of them."""
    if sink.template is None:
        return []
    folder = f"{place.file.parent}/"
    try:
        template = Template("email" if isinstance(sink, EmailConfig) else "slack", sink.locale or "en", sink.template)
    except TemplateProblem as error:
        return [Finding(place, str(error).removeprefix(folder))]
    failing = list(template.trial())
    if not failing:
        return []
    _, problem, depends = failing[0]
    message = str(problem).removeprefix(folder)
    names = ", ".join(name for name, _, _ in failing)
    if depends:
        return [Finding(place, message, f"in its place the built-in template is used for {names}", level="warning")]
    return [Finding(place, message, f"it fails for {names}")]


def _wrong_link(link: str) -> tuple[str, str] | None:
    """Message and hint."""
    for name in PLACEHOLDER.findall(link):
        if name not in LINK_FIELDS:
            return f'"{{{name}}}" is no placeholder', _PLACEHOLDERS
    without = PLACEHOLDER.sub("x", link)
    if set(without) & set("{}"):
        return "has a brace without its other one", _PLACEHOLDERS
    try:
        parse_url(without, for_people=True)
    except UrlError as error:
        return error.message, error.hint
    if "{" in re.split(r"[/?#]", link.partition("://")[2])[0]:
        return "has a placeholder in its host", "an event must not choose where people are sent"
    return None


def _no_timezone(name: str) -> tuple[str, str]:
    """Message and hint."""
    known = available_timezones()
    if not known:
        return f'"{name}" can not be found', "this host has no time zones; install its package tzdata, or use UTC"
    close = difflib.get_close_matches(name, known, 1, cutoff=0.8)
    return f'"{name}" is no time zone', suggestion(name, known) if close else 'write a name such as "Asia/Tokyo"'
