"""Templates: the built-in ones are alike in all languages, an operator's file replaces them, and no message is lost to one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from minijinja import Environment

from gateway.core.outcome import Delivered
from gateway.core.samples import SAMPLES
from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import TEMPLATES as MAIL
from gateway.sinks.email.mail import Mail, render, template_of
from gateway.sinks.slack.posts import TEMPLATES as SLACK
from gateway.sinks.text.language import Language, tell
from gateway.sinks.text.templates import MOST_TEXT, VARIABLES, Rendered, Template, TemplateKind, TemplateProblem, built_in_source
from gateway.sinks.text.wording import LOCALES
from tests.sinks.mail_server import MailServer, parsed
from tests.sinks.mails import CONFIG, page_of, text_of
from tests.sinks.sending import opened, outgoing, send

KINDS = [pytest.param(MAIL, id="email"), pytest.param(SLACK, id="slack")]


def of(sample: str, **more: Any) -> Outgoing:
    return outgoing(json.dumps(SAMPLES[sample] | more).encode())


def rendered(file: Path, text: str, delivery: Outgoing, kind: TemplateKind = MAIL) -> Rendered:
    file.write_text(text, encoding="utf-8")
    return Template(kind, "en", str(file)).render(delivery, tell(delivery, Language(), None))


def mail_of(folder: Path, text: str, delivery: Outgoing) -> Mail:
    (folder / "mail.jinja").write_text(text, encoding="utf-8")
    config = msgspec.structs.replace(CONFIG, template=str(folder / "mail.jinja"))
    return render(delivery, config, template_of(config))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_templates_have_the_same_blocks_tags_and_variables(kind: TemplateKind, locale: Locale) -> None:
    english, other = built_in_source(kind, "en"), built_in_source(kind, locale)
    words = re.compile(r'"[^"]*"')
    assert [words.sub('""', tag) for tag in re.findall(r"\{%.*?%\}|\{\{.*?\}\}", other)] == [
        words.sub('""', tag) for tag in re.findall(r"\{%.*?%\}|\{\{.*?\}\}", english)
    ]
    assert re.findall(r"<[^>{]*>", re.sub(r'"[^"]*"', "", other)) == re.findall(r"<[^>{]*>", re.sub(r'"[^"]*"', "", english))
    assert re.findall(r"block (\w+)", other) == [name for name, _ in kind.parts]
    assert Environment().undeclared_variables_in_str(other) <= VARIABLES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_built_in_template_fails(sample: str, locale: Locale, kind: TemplateKind) -> None:
    delivery = of(sample)
    parts = Template(kind, locale).render(delivery, tell(delivery, Language(locale), None)).parts
    assert list(parts) == [name for name, _ in kind.parts]
    assert all(parts.values())
    assert Template(kind, locale).render(outgoing(b"[]"), tell(outgoing(b"[]"), Language(locale), None)).parts["text"]


def test_a_file_replaces_the_blocks_that_it_has(tmp_path: Path) -> None:
    mail = mail_of(tmp_path, "{% block subject %}Desk: {{ item }}{% endblock %}", of("authentic"))
    assert mail.failed == ""
    assert parsed(mail.raw)["Subject"] == "Desk: ITEM-1042"
    assert text_of(parsed(mail.raw)).startswith("✅ The item is authentic\n")
    assert "<h1" in page_of(parsed(mail.raw))


def test_a_file_without_blocks_is_the_text_and_the_page_is_made_of_it(tmp_path: Path) -> None:
    mail = mail_of(tmp_path, "Dear desk,\n\n{{ headline }}: {{ item }}", of("authentic", reference_id="<b>BAG</b>"))
    assert text_of(parsed(mail.raw)) == "Dear desk,\n\nThe item is authentic: <b>BAG</b>\n"
    assert "Dear desk,\n\nThe item is authentic: &lt;b&gt;BAG&lt;/b&gt;" in page_of(parsed(mail.raw))
    assert "Legitmark" in str(parsed(mail.raw)["Subject"])


def test_a_block_in_a_comment_does_not_count(tmp_path: Path) -> None:
    said = rendered(tmp_path / "t", "{# e.g. {% block text %} #}Hello {{ item }}, my words", of("authentic"))
    assert (said.parts["text"], said.failed) == ("Hello ITEM-1042, my words", "")


def test_a_file_can_add_to_what_is_built_in(tmp_path: Path) -> None:
    said = rendered(tmp_path / "t", "{% block text %}{{ super() }}\nAsk desk 7.{% endblock %}", of("authentic")).parts["text"]
    assert said.startswith("✅ The item is authentic\n")
    assert said.endswith("\nAsk desk 7.")


def test_a_file_escapes_the_values_of_an_event_in_html_and_for_slack(tmp_path: Path) -> None:
    hostile = of("authentic", reference_id="<!channel> & <b>")
    page = rendered(tmp_path / "t", "{% block html %}<i>{{ item }}</i>{% endblock %}", hostile).parts["html"]
    assert page == "<i>&lt;!channel&gt; &amp; &lt;b&gt;</i>"
    text = rendered(tmp_path / "t", "*{{ item }}* {{ event.reference_id }}", hostile, SLACK).parts["text"]
    assert text == "*&lt;!channel&gt; &amp; &lt;b&gt;* &lt;!channel&gt; &amp; &lt;b&gt;"


def test_a_subject_from_a_file_is_one_header(tmp_path: Path) -> None:
    hostile = of("authentic", certificate="x\r\nBcc: victim@example.com")
    mail = mail_of(tmp_path, "{% block subject %}{{ event.certificate }}\nBcc: b@example.com{% endblock %}", hostile)
    assert mail.failed == ""
    assert parsed(mail.raw)["Bcc"] is None
    assert parsed(mail.raw)["Subject"] == "x  Bcc: victim@example.com Bcc: b@example.com"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ headline }}\n{{ verdict }}", 'mail.jinja:2: unknown variable "verdict"; there is advice, '),
        ("\n{% block body %}{% endblock %}", 'mail.jinja:2: unknown block "body"; there is subject, text, html'),
        ("\n\n{{ item", "mail.jinja:3: syntax error: "),
        ('{% extends "base" %}', "mail.jinja:1: must not use extends"),
        ("x" * 70_000, "mail.jinja: is longer than 64 KiB"),
        ("\n{% include 'nothing' %}", 'mail.jinja:2: a template has no "include"'),
        ("{{ item|safe }}", 'mail.jinja:1: a template has no filter "safe"'),
        ("{% autoescape false %}{{ item }}{% endautoescape %}", 'mail.jinja:1: a template has no "autoescape"'),
        ("{{ '%d'.format(1) }}", 'mail.jinja:1: a template has no method "format"'),
        ("{{ debug() }}", 'mail.jinja:1: a template has no function "debug"'),
    ],
)
def test_a_file_that_cannot_work_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mail.jinja"
    file.write_text(text)
    with pytest.raises(TemplateProblem) as caught:
        Template(MAIL, "en", str(file))
    assert str(caught.value).startswith(f"{tmp_path}/{said}")


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(TemplateProblem, match=r"t:2: is not UTF-8"):
        Template(MAIL, "en", str(tmp_path / "t"))
    with pytest.raises(TemplateProblem, match="can't be read: is a folder, not a file"):
        Template(MAIL, "en", str(tmp_path))


def test_a_failure_for_some_events_is_found_before_they_come(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{% for photo in photos %}\n{{ photo.name }}{% endfor %}")
    failing = list(Template(MAIL, "en", str(tmp_path / "t")).trial())
    with_photos = ["needs_resubmission", "needs_resubmission_ja", "needs_resubmission_coded", "a joined rejection"]
    assert [name for name, _, _ in failing] == with_photos
    assert str(failing[0][1]) == f"{tmp_path}/t:2: undefined value: `photo.name` is undefined"
    assert not failing[0][2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ event.certificate.number }}", "t:1: undefined value"),
        ("{{ 1 / 0 }}", "t:1: "),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "t:1: "),
        ("{% block html %}{{ 'x' * 70000 }}{% endblock %}", "html: is longer than 64 KiB"),
        ("{% for i in range(3000) %}{{ 'x' * 200000 }}{% endfor %}", "says more than 4 MiB"),
    ],
)
def test_the_built_in_template_replaces_a_file_that_fails_at_run_time(text: str, why: str, tmp_path: Path) -> None:
    said = rendered(tmp_path / "t", text, of("authentic"))
    assert why in said.failed
    assert said.own == frozenset()
    assert said.parts["text"].startswith("✅ The item is authentic\n")
    assert "<h1" in said.parts["html"]


async def test_a_mail_whose_template_fails_is_still_sent_and_its_outcome_says_so(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ event.certificate.number }}")
    async with MailServer() as server:
        config: EmailConfig = msgspec.structs.replace(CONFIG, port=server.port, template=str(tmp_path / "t"))
        async with opened(config, tmp_path) as sink:
            failed = await send(sink, of("authentic"))
            fine = await send(sink, of("unrecognized"))
    assert isinstance(failed, Delivered)
    assert failed.detail.startswith("the built-in template was used in place of ")
    assert "t:1: undefined value" in failed.detail
    assert fine == Delivered(250)
    assert len(server.mails) == 2


@pytest.mark.parametrize("text", ["{{ 'x' * 100000 }}", "{{ 'あ' * 100000 }}", "{{ reference * 2000 }}"])
def test_the_text_of_a_file_is_cut_at_8_kib(text: str, tmp_path: Path) -> None:
    said = rendered(tmp_path / "t", text, of("authentic")).parts["text"]
    assert MOST_TEXT - 6 <= len(said.encode()) <= MOST_TEXT
    assert said.endswith("…")
