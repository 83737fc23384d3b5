"""The URL of an HTTP proxy: what can be one, and that no error and no text form shows its login."""

from __future__ import annotations

import base64

import pytest

from gateway.core.proxies import parse_proxy
from gateway.core.urls import UrlError


@pytest.mark.parametrize(
    ("text", "host", "port", "username", "password"),
    [
        ("http://proxy.internal:3128", "proxy.internal", 3128, "", None),
        ("HTTP://Proxy.Internal/", "proxy.internal", 80, "", None),
        ("http://[2001:db8::1]:8080", "2001:db8::1", 8080, "", None),
        ("http://user:pass@proxy:3128", "proxy", 3128, "user", "pass"),
        ("http://user@proxy", "proxy", 80, "user", ""),
        ("http://user:a:b%40%2F%25@proxy", "proxy", 80, "user", "a:b@/%"),
        ("http://%E6%8B%85:%E5%BD%93@proxy", "proxy", 80, "担", "当"),
    ],
)
def test_the_url_of_a_proxy_is_taken_apart(text: str, host: str, port: int, username: str, password: str | None) -> None:
    found = parse_proxy(text)
    assert (found.host, found.port, found.username) == (host, port, username)
    assert (None if found.password is None else found.password.reveal()) == password
    expected = None if password is None else f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
    assert found.authorization == expected
    assert "a:b" not in repr(found)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://proxy", []),
        ("http://user:secret-4Kd9@proxy", ["secret-4Kd9", "dXNlcjpzZWNyZXQtNEtkOQ=="]),
        ("http://token-4Kd9@proxy", ["token-4Kd9", "dG9rZW4tNEtkOTo="]),
    ],
)
def test_a_password_or_a_token_in_its_place_is_hidden_wherever_an_answer_repeats_it(text: str, hidden: list[str]) -> None:
    assert parse_proxy(text).secrets == hidden


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://",
        "http://proxy:3128/path",
        "http://proxy:3128?x=y",
        "http://proxy:port",
        "http://@proxy",
        "http://never-shown:p@ss@proxy",
        "http://never-shown:p/ss@proxy",
        "http://never-shown:p ss@proxy",
        "http://never-shown:100%@proxy",
        "http://never-shown:%FF@proxy",
        "http://never%3Ashown:x@proxy",
        "http://never-shown:a%0D%0Ab@proxy",
        "http://never-shown:${PASSWORD}@proxy",
        "http://never-shown:x@",
    ],
)
def test_an_unusable_url_of_a_proxy_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(UrlError) as error:
        parse_proxy(text)
    assert "never" not in str(error.value)
