"""Every mail, in each locale, as files that a person has read: its headers and text in one, its page in another.

`REWRITE_EXPECTED=1 pytest tests/sinks/test_email_golden.py` writes them anew: read what changed, and look at the pages in a
browser, in light and in dark.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render, template_of
from gateway.sinks.text.wording import LOCALES
from tests.golden import same
from tests.sinks.golden_deliveries import DELIVERIES, FOR_PEOPLE
from tests.sinks.mail_server import parsed
from tests.sinks.mails import page_of, read, text_of
from tests.sinks.sending import outgoing

GOLDEN = Path(__file__).parent / "golden" / "email"
SENDER = "Legitmark gateway <gateway@example.com>"


def files(delivery: Outgoing, locale: Locale) -> dict[str, str]:
    config = EmailConfig(
        host="x",
        sender=SENDER,
        recipients=["care@example.com"],
        locale=locale,
        timezone="Asia/Tokyo",
        link="https://erp.example/items/{reference_id}",
    )
    raw = render(delivery, config, template_of(config)).raw
    mail = read(raw)
    head = "".join(f"{name}: {value}\n" for name, value in mail.items())
    return {"txt": f"{head}\n{text_of(mail)}", "html": page_of(mail)}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_each_mail_is_the_one_in_its_golden_files(name: str, locale: Locale) -> None:
    for kind, said in files(FOR_PEOPLE[name], locale).items():
        same(said, GOLDEN / locale / f"{name}.{kind}")


def test_every_golden_file_belongs_to_a_mail() -> None:
    kept = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.*")}
    assert kept == {f"{locale}/{name}.{kind}" for locale in LOCALES for name in FOR_PEOPLE for kind in ("txt", "html")}


def test_every_milestone_of_a_service_request_has_one_subject_and_one_root() -> None:
    config = EmailConfig(host="x", sender=SENDER, recipients=["care@example.com"])
    told = [
        delivery
        for name, delivery in DELIVERIES.items()
        if delivery.event is not None and delivery.source == "legitmark" and name != "drill"
    ]
    mails = [parsed(render(delivery, config, template_of(config)).raw) for delivery in told]
    assert {mail["Subject"] for mail in mails} == {"Legitmark: ITEM-1042 (5a0e7c1d)"}
    (root,) = {mail["References"] for mail in mails}
    assert {mail["In-Reply-To"] for mail in mails} == {root}
    other = outgoing(b'{"event_type":"x","sr_uuid":"another"}')
    assert parsed(render(other, config, template_of(config)).raw)["References"] != root
    elsewhere = outgoing(told[0].body, source="staging")
    assert parsed(render(elsewhere, config, template_of(config)).raw)["References"] != root
