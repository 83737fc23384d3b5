"""The rules about the keys of a sink whose messages people read: time zone, link and template. Raises nothing."""

from __future__ import annotations

import difflib
import re
from zoneinfo import available_timezones

from gateway.core.urls import UrlError, parse_url
from gateway.sinks.base import ReadableSettings
from gateway.sinks.checking import Files, Say
from gateway.sinks.text.language import LINK_FIELDS, is_timezone
from gateway.sinks.text.templates import Template, TemplateKind, TemplateProblem
from gateway.sinks.text.wording import PLACEHOLDER

_PLACEHOLDERS = f"there is {', '.join(f'{{{name}}}' for name in LINK_FIELDS)}"


def check_readable(config: ReadableSettings, kind: TemplateKind, say: Say, files: Files) -> None:
    """Check the keys of `ReadableSettings`.

    Args:
        kind: the templates of the sink type.
    """
    if config.timezone is not None:
        check_timezone(config.timezone, say)
    if config.link is not None:
        _check_link(config.link, say)
    if config.template is not None and "template" in files.texts:
        _check_template(config.template, config, kind, say, files)


def check_timezone(name: str, say: Say) -> None:
    if is_timezone(name):
        return
    known = available_timezones()
    if not known:
        say("timezone", f'"{name}" can not be found', "this host has no time zones; install its package tzdata, or use UTC")
        return
    close = difflib.get_close_matches(name, known, 1, cutoff=0.8)
    hint = f'did you mean "{close[0]}"?' if close else 'write a name such as "Asia/Tokyo"'
    say("timezone", f'"{name}" is not a time zone', hint)


def _check_link(link: str, say: Say) -> None:
    for name in PLACEHOLDER.findall(link):
        if name not in LINK_FIELDS:
            say("link", f'"{{{name}}}" is not a placeholder', _PLACEHOLDERS)
            return
    without = PLACEHOLDER.sub("x", link)
    if set(without) & set("{}"):
        say("link", "has an unmatched brace", _PLACEHOLDERS)
        return
    try:
        parse_url(without, for_people=True)
    except UrlError as error:
        say("link", error.wrong, error.hint)
        return
    if "{" in re.split(r"[/?#]", link.partition("://")[2])[0]:
        say("link", "has a placeholder in its host", "an event must not choose where people are sent")


def _check_template(file: str, config: ReadableSettings, kind: TemplateKind, say: Say, files: Files) -> None:
    """Report an error if the template fails for every event, and a warning if it fails for some of them."""
    folder = f"{files.folder}/"
    try:
        template = Template(kind, config.locale or "en", file)
    except TemplateProblem as error:
        say("template", str(error).removeprefix(folder))
        return
    failing = list(template.trial())
    if not failing:
        return
    _, problem, depends = failing[0]
    wrong = str(problem).removeprefix(folder)
    names = ", ".join(name for name, _, _ in failing)
    if depends:
        say("template", wrong, f"the built-in template is used instead for {names}", level="warning")
    else:
        say("template", wrong, f"it fails for {names}")
