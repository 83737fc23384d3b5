"""A mail address with a name reads the same in another parser, and an ambiguous one is refused."""

from __future__ import annotations

from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from aiosmtplib.email import parse_address
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.mailbox import Mailbox, MailboxError, parse_mailbox
from gateway.sinks.email.headers import address_header, text_header

CHARACTERS = st.characters(exclude_categories=["Cc", "Cs", "Cf", "Cn", "Co", "Zl", "Zp"])
NAMES = st.one_of(
    st.text(CHARACTERS, max_size=300),
    st.text('aé窓👜שe\u0301 "\\\\,()<>@;:=?._', max_size=300),
).map(lambda text: " ".join(text.split()))
LOCALS = st.from_regex(r"[a-z][a-z0-9.+-]{0,40}[a-z]", fullmatch=True).filter(lambda text: ".." not in text)
DOMAINS = st.from_regex(r"([a-z][a-z0-9]{0,30}[.]){1,6}example", fullmatch=True)
QUOTED = st.text('ab"\\\\@ <.', max_size=8).map(lambda text: f'"{text}"@b.example')
MAILBOXES = st.builds(Mailbox, NAMES, LOCALS, DOMAINS)


@given(st.lists(MAILBOXES, min_size=1, max_size=6))
def test_an_address_header_reads_back_as_the_same_mailboxes(mailboxes: list[Mailbox]) -> None:
    """The reader is the standard library's older one, which shares no line with the writer."""
    header = address_header("To", mailboxes)
    lines = header.removesuffix("\r\n").split("\r\n")
    assert header.isascii()
    assert all(line.startswith(" ") for line in lines[1:]), "nothing begins another header"
    assert all(len(line) <= 78 or len(line.split()) == 1 or line.startswith("To: ") or "<" in line for line in lines)
    assert max(map(len, lines)) <= 998
    read = getaddresses([header.removeprefix("To:").replace("\r\n", "")])
    assert [address for _, address in read] == [mailbox.address for mailbox in mailboxes]
    assert [str(make_header(decode_header(name))) for name, _ in read] == [mailbox.name for mailbox in mailboxes]


@given(st.text(CHARACTERS, max_size=600))
def test_a_text_header_reads_back_as_the_same_text(text: str) -> None:
    header = text_header("Subject", text)
    assert header.isascii()
    lines = header.removesuffix("\r\n").split("\r\n")
    assert max(map(len, lines)) <= 78
    assert all(line.startswith(" ") for line in lines[1:])
    assert str(make_header(decode_header(header.removeprefix("Subject:").replace("\r\n", "").removeprefix(" ")))) == text


@given(st.text(max_size=60) | st.text('a@.<>"\\\\(),;:[] é\r\n\0', max_size=30) | QUOTED)
@example("0@.")
def test_any_text_is_a_mailbox_or_a_clear_error(text: str) -> None:
    try:
        mailbox = parse_mailbox(text)
    except MailboxError as error:
        assert error.wrong
        assert error.hint
    else:
        assert parse_mailbox(f"<{mailbox.address}>").address == mailbox.address
        assert parse_address(mailbox.address) == mailbox.address, "the SMTP client sends what it reads of an address"
        assert mailbox.domain.isascii()
        assert not {"\r", "\n", "\0"} & set(mailbox.address + mailbox.name)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Legitmark, Inc. <gateway@example.com>", "Legitmark, Inc.", "gateway@example.com"),
        ('"Doe, \\"JJ\\" Jane" <jane@example.com>', 'Doe, "JJ" Jane', "jane@example.com"),
        ("<a@b.example>", "", "a@b.example"),
        ("a@bücher.example", "", "a@xn--bcher-kva.example"),
        ("a..b.@docomo.example", "", '"a..b."@docomo.example'),
        ("a@[IPv6:::1]", "", "a@[IPv6:::1]"),
        ('"a.b"@b.example', "", "a.b@b.example"),
        ('"\\a\\ \\"b"@b.example', "", '"a \\"b"@b.example'),
        ("\U0001fae9 team <a@b.example>", "\U0001fae9 team", "a@b.example"),
        ("窓口 👩\u200d💻 <担当@b.example>", "窓口 👩\u200d💻", "担当@b.example"),
    ],
)
def test_an_address_with_only_one_meaning_is_accepted(text: str, name: str, address: str) -> None:
    mailbox = parse_mailbox(text)
    assert (mailbox.name, mailbox.address) == (name, address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mailto:a@example.com", "mailto:"),
        ("a@x.example, b@x.example", "more than one"),
        ("A <a@x.example>, B <b@x.example>", "more than one"),
        ("a@x.example, B <b@x.example>", "two addresses"),
        ("Team: a@x.example;", "semicolon"),
        ("a@x.example (Jane)", "comment"),
        ("a@x.example\r\nBcc: b@x.example", "line break"),
        ("a\0@x.example", "control"),
        ("a@x.example.", "dot"),
        ("a@127.0.0.1", "brackets"),
        ("a@x.example:25", "port"),
        ("Care", "no @"),
        ("", "empty"),
    ],
)
def test_an_ambiguous_address_is_refused_with_a_hint(text: str, said: str) -> None:
    with pytest.raises(MailboxError, match=said):
        parse_mailbox(text)
