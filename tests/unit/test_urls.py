"""URLs and hosts as people write them are split without a change, or refused with a hint."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.urls import Url, UrlError, parse_host, parse_url

GOOD = [
    ("https://erp.example/hooks", Url("https", "erp.example", 443, "/hooks")),
    ("HTTPS://ERP.example", Url("https", "erp.example", 443, "/")),
    ("http://erp.example:8080?x=1", Url("http", "erp.example", 8080, "/?x=1")),
    ("https://x.example/a?sp=%2Ftriggers&sig=a%2Bb", Url("https", "x.example", 443, "/a?sp=%2Ftriggers&sig=a%2Bb")),
    ("https://x.example/a/../b//c;d?e[]=1|2^`", Url("https", "x.example", 443, "/a/../b//c;d?e[]=1|2^`")),
    ("https://x.example/$batch?$filter=a@b", Url("https", "x.example", 443, "/$batch?$filter=a@b")),
    ("http://[2001:DB8::1]:8080/", Url("http", "2001:db8::1", 8080, "/")),
    ("http://127.0.0.1/", Url("http", "127.0.0.1", 80, "/")),
    ("http://my_service.default.svc.cluster.local./", Url("http", "my_service.default.svc.cluster.local.", 80, "/")),
    ("http://bücher.example/", Url("http", "xn--bcher-kva.example", 80, "/")),
    ("http://Bücher.example/", Url("http", "xn--bcher-kva.example", 80, "/")),
    ("http://localhost:80", Url("http", "localhost", 80, "/")),
]

BAD = [
    ("", "is empty"),
    (" ", "is empty"),
    (" https://x.example/", "begins or ends with a space"),
    ("https://x.example/\u00a0", "begins or ends with a space"),
    ("https://x.example /y", "has a space in it"),
    ("https://x.example/a b", "%20"),
    ("https://x.exa\nmple/", "line break"),
    ("https://x.example/\r", "line break"),
    ("https://x.example/\u2028", "line break"),
    ("https://x.exa\tmple/", "control character"),
    ("https://x.example/\x00", "control character"),
    ("https://x.example/\x7f", "control character"),
    ("https://x.example/\u200b", "invisible"),
    ("\ufeffhttps://x.example/", "invisible"),
    ("https://${HOST}/x", "placeholder"),
    ("https://$HOST/x", "placeholder"),
    ("https://{{ host }}/x".replace(" ", ""), "placeholder"),
    ("https://<host>/x", "placeholder"),
    ("https://%HOST%/x", "placeholder"),
    ("https://{host}/x", "placeholder"),
    ("https://x.example/{id}", "%7B"),
    ("https://x.example/${ID}", "placeholder"),
    ("x.example/y", "has no scheme"),
    ("//x.example/y", "has no scheme"),
    ("/y", "has no scheme"),
    ("http", "has no scheme"),
    ("httpbin.org/post", "has no scheme"),
    ("http:/x.example", "did you mean http://"),
    ("https//x.example", "did you mean https://"),
    ("https:x.example", "did you mean https://"),
    ("https:\\\\x.example", "did you mean https://"),
    ("ftp://x.example", "must begin with http:// or https://"),
    ("htps://x.example", "must begin with http:// or https://"),
    ("mailto:a@x.example", "has no scheme"),
    ("http://", "has no host"),
    ("https:///x", "has no host"),
    ("http://:80/", "has no host"),
    ("http://?x", "has no host"),
    ("http://jane:geheim42@x.example/", "user name or password"),
    ("http://jane@x.example/", "user name or password"),
    ("http://x.example:0/", "port"),
    ("http://x.example:99999/", "port"),
    ("http://x.example:http/", "port"),
    ("http://x.example:-1/", "port"),
    ("http://x.example:٨٠/", "port"),
    ("http://x.example:/", "no port"),
    ("http://[::1", "not closed"),
    ("http://[::1]x/", "not closed"),
    ("http://[x]/", "no valid IPv6 address"),
    ("http://[]/", "no valid IPv6 address"),
    ("http://::1/", "several colons"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://x.example\\y", "backslash"),
    ("http://x.example/a\\b", "%5C"),
    ("https://x.example/#top", "fragment"),
    ("https://x.example#", "fragment"),
    ("https://x.example/ü", "non-ASCII"),
    ("https://x.example/?q=日本", "non-ASCII"),
    ('https://x.example/"', "%22"),
    ("http://a..b/", "two dots"),
    ("http://.b/", "two dots"),
    ("http://./", "two dots"),
    (f"http://{'a' * 64}.example/", "too long"),
    (f"http://{'a.' * 130}b/", "too long"),
    ("http://-x.example/", "not allowed there"),
    ("http://x,y/", "not allowed there"),
    ("http://*.example/", "not allowed there"),
    ("http://2130706433/", "not an IPv4 address"),
    ("http://127.1/", "not an IPv4 address"),
    ("http://0x7f.1/", "not an IPv4 address"),
    ("http://256.1.1.1/", "not an IPv4 address"),
    ("http://127.0.0.010/", "not an IPv4 address"),
    ("http://straße.example/", "xn--"),
    ("http://ｅxample.com/", "xn--"),
    ("http://example。com/", "xn--"),
]


@pytest.mark.parametrize(("text", "url"), GOOD)
def test_a_url_is_split_and_its_target_stays_as_it_was_written(text: str, url: Url) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_text_that_is_not_a_url_is_refused_with_a_hint_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(text)
    assert said in str(caught.value)
    # A URL may be a secret (a webhook's address), so the error shows at most its scheme.
    pieces = [piece for piece in re.split(r"[^A-Za-z0-9]+", text) if len(piece) > 4 and piece not in ("https", "example")]
    assert not [piece for piece in pieces if piece in str(caught.value)]


@given(st.text(alphabet="abzAZ019:/?#[]@!$&'()*+,;=%-._~ \\{}<>\"|ü。\t\n\u200b"), st.sampled_from(["", "http://", "https://x"]))
def test_an_accepted_url_is_sent_unchanged_and_another_parser_agrees(text: str, before: str) -> None:
    text = before + text
    try:
        url = parse_url(text)
    except UrlError:
        return
    parts = urlsplit(text)
    assert url.scheme == parts.scheme
    assert (
        url.target.isascii()
        and url.target.isprintable()
        and " " not in url.target
        and text.endswith(url.target.removeprefix("/"))
    )
    assert url.host.isascii() and (parts.port or url.port) == url.port
    if (parts.hostname or "").isascii() and ":" not in url.host:
        assert url.host == parts.hostname
    assert parse_url(f"{url.origin}{url.target}") == url


def test_a_link_for_people_may_have_a_fragment_and_non_ascii_letters() -> None:
    assert parse_url("https://x.example/日本#/orders/x", for_people=True).host == "x.example"


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("https://x.example:443/", "x.example"),
        ("https://x.example:80/", "x.example:80"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://[::1]/", "[::1]"),
    ],
)
def test_the_host_header_has_the_port_unless_it_is_the_default_of_the_scheme(text: str, authority: str) -> None:
    assert parse_url(text).authority == authority


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("smtp.Example.com", "smtp.example.com"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("10.0.0.1", "10.0.0.1"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_parsed_without_a_url_around_it(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smtp.example.com:587", "port"),
        ("smtps://smtp.example.com", "URL"),
        ("https://smtp.example.com", "URL"),
        (" smtp.example.com", "space"),
        ("smtp.example.com\n", "line break"),
        ("", "is empty"),
        ("user@smtp.example.com", "@"),
        ("smtp.example.com/", "path"),
        ("${SMTP}", "placeholder"),
        ("$SMTP", "placeholder"),
        ("[::1]:25", "no valid IPv6"),
        ("smtp..example.com", "two dots"),
        ("127.1", "IPv4"),
    ],
)
def test_a_text_that_is_not_a_host_is_refused_with_a_hint(text: str, said: str) -> None:
    with pytest.raises(UrlError, match=said):
        parse_host(text)
