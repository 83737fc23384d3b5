"""Secrets are hidden in every picture of a request, wherever they stand."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.masking import HIDDEN, Mask

CANARY = "Kanarienvogel-0815"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", f"Bearer {CANARY}", f"Bearer {HIDDEN}"),
        ("authorization", f"Basic  {CANARY}", f"Basic {HIDDEN}"),
        ("authorization", CANARY, HIDDEN),
        ("authorization", f"{CANARY} {CANARY}", HIDDEN),
        ("Proxy-Authorization", f"Basic {CANARY}", f"Basic {HIDDEN}"),
        ("Cookie", f"session={CANARY}; theme=dark", HIDDEN),
        ("Set-Cookie", f"id={CANARY}", HIDDEN),
        ("X-Api-Key", CANARY, HIDDEN),
        ("x-apikey", CANARY, HIDDEN),
        ("X-Auth-Token", CANARY, HIDDEN),
        ("x-gitlab-token", CANARY, HIDDEN),
        ("x-amz-security-token", CANARY, HIDDEN),
        ("x-client-secret", CANARY, HIDDEN),
        ("x-password", CANARY, HIDDEN),
        ("x-auth", CANARY, HIDDEN),
        ("x-session-id", CANARY, HIDDEN),
        ("x-note", f"the key is {SECRET}", f"the key is whsec_{HIDDEN}"),
        ("x-note", "call leo_abcDEF123", f"call leo_{HIDDEN}"),
        ("referer", f"https://user:{CANARY}@example.com/x", f"https://{HIDDEN}@example.com/x"),
        ("x-forwarded-note", f"sent with bearer {CANARY}", f"sent with bearer {HIDDEN}"),
        ("x-jwt-like", f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}", HIDDEN),
        ("svix-id", "msg_1", "msg_1"),
        ("svix-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
        ("content-type", "application/json", "application/json"),
        ("user-agent", "Svix-Webhooks/1.62 (sender; +https://www.svix.com/http-sender/)", None),
    ],
)
def test_credentials_in_headers_are_hidden_and_the_rest_is_not(name: str, value: str, shown: str | None) -> None:
    assert Mask().header(name, value) == (value if shown is None else shown)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/hook?token={CANARY}&x=1", f"/hook?token={HIDDEN}&x=1"),
        (f"/hook?x=1&api_key={CANARY}", f"/hook?x=1&api_key={HIDDEN}"),
        (f"/hook?to%6ben={CANARY}", f"/hook?to%6ben={HIDDEN}"),
        (f"/hook?access_token={CANARY};sig={CANARY}", f"/hook?access_token={HIDDEN};sig={HIDDEN}"),
        (f"/hook/{SECRET}?a=b", f"/hook/whsec_{HIDDEN}?a=b"),
        ("/hook/whsec%5FC2FVsBQIhrscChlQIMV%2Bb5", f"/hook/whsec_{HIDDEN}"),
        ("/webhooks/legitmark?sr=1", "/webhooks/legitmark?sr=1"),
    ],
)
def test_credentials_in_a_target_are_hidden(target: str, shown: str) -> None:
    assert Mask().target(target) == shown


def test_a_secret_that_is_known_is_hidden_everywhere_with_and_without_its_prefix() -> None:
    mask = Mask([SECRET, CANARY, "abc"])
    bare = SECRET.removeprefix("whsec_")
    text = mask.text(f"{SECRET} {bare} {CANARY} abc")
    assert bare not in text and CANARY not in text
    assert text.endswith(" abc"), "a text so short would hide words"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert Mask().headers([(b"x-\xff", b"\xfe\x00")]) == [("x-�", "�\x00")]


@given(st.text(), st.text(), st.text(alphabet="abcdefghij0123456789-", min_size=8, max_size=30))
def test_a_known_secret_is_never_left_in_a_text(before: str, after: str, secret: str) -> None:
    mask = Mask([secret])
    for shown in (
        mask.text(before + secret + after),
        mask.target(f"/{before}{secret}?{after}={secret}"),
        mask.header(before, secret + after),
        *mask.headers([(secret.encode(), secret.encode())])[0],
    ):
        assert secret not in shown


@given(st.binary(min_size=24, max_size=75))
def test_every_signing_secret_is_known_at_sight(raw: bytes) -> None:
    secret = "whsec_" + base64.b64encode(raw).decode()
    assert Mask().text(f'{{"secret":"{secret}"}}') == f'{{"secret":"whsec_{HIDDEN}"}}'


@given(st.text(max_size=2000))
def test_a_picture_is_made_of_any_text(text: str) -> None:
    mask = Mask()
    assert isinstance(mask.text(text) + mask.target(text) + mask.header(text, text), str)


@pytest.mark.parametrize("text", ["//" * 50_000, "eyJ" * 50_000, "a=" * 50_000, "whsec_" * 20_000, "bearer " * 30_000])
def test_a_hostile_text_costs_little(text: str) -> None:
    assert Mask().target(f"/?{text}")
