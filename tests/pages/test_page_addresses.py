"""Addresses of pages: any name can stand in a path, links keep the language, and parameters are read strictly."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.users import Role, Visitor
from gateway.web.door.permissions import Permissions
from gateway.web.pages.asking import Asked, Mistake, language_of, parameters
from gateway.web.pages.hyperlinks import path_of, url
from gateway.web.pages.page import page_path
from gateway.web.pages.page_table import PAGES, page_at, page_permits

VISITOR = Visitor("ann", Role.READ, "token")
TEXT = st.text(alphabet=st.characters(codec="utf-8"), min_size=1)


@given(TEXT)
def test_any_name_comes_back_out_of_the_path_of_its_page(name: str) -> None:
    path = path_of("sr", name)
    assert path.isascii() and not set(path) & set("?#% \\") - {"%"}
    found = page_at(page_path(path)[0])
    assert found is not None and (found[0].name, found[1]) == ("request", (name,))
    assert page_path(path)[1] is False


@given(TEXT)
def test_the_twin_of_any_page_is_its_path_with_an_ending(name: str) -> None:
    path = path_of("sr", name)
    assert page_path(f"{path}.json") == (path, True)


def test_every_page_has_a_path_and_a_twin_of_its_own() -> None:
    paths = [path for page in PAGES for path in (page.path, page.twin)]
    assert len(set(paths)) == len(paths)
    for page in PAGES:
        assert page_at(page_path(page.twin)[0]) == page_at(page.path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_and_its_twin_have_the_least_role_of_the_table(page: object) -> None:
    permissions = Permissions(page_permits())
    for path in (page.path, page.twin):  # type: ignore[attr-defined]
        request = make_mocked_request("GET", path.replace("{sr_uuid}", "x"))
        assert permissions.least(request) == page.role  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "header", "language", "chosen"),
    [
        ("", "", "en", False),
        ("", "ja", "ja", False),
        ("", "ja-JP,ja;q=0.9,en;q=0.8", "ja", False),
        ("", "en-US,en;q=0.9,ja;q=0.8", "en", False),
        ("", "fr, ja;q=0.5, en;q=0.4", "ja", False),
        ("", "fr", "en", False),
        ("", "ja;q=0", "en", False),
        ("", "ja;q=x, en", "en", False),
        ("?lang=ja", "en", "ja", True),
        ("?lang=en", "ja", "en", True),
        ("?lang=fr", "ja", "ja", False),
    ],
)
def test_the_url_chooses_the_language_or_else_the_browser(query: str, header: str, language: str, chosen: bool) -> None:
    assert language_of(make_mocked_request("GET", f"/{query}", {"Accept-Language": header})) == (language, chosen)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_any_header_leads_to_one_of_the_languages(header: str) -> None:
    assert language_of(make_mocked_request("GET", "/", {"Accept-Language": header}))[0] in ("en", "ja")


def test_a_link_to_the_same_page_changes_what_it_names_and_keeps_the_rest() -> None:
    asked = Asked(path="/sr", query={"state": "draft", "after": "5.1"}, visitor=VISITOR, language="ja", chosen=True, now=0.0)
    changed = urlsplit(asked.at("after", "9.2"))
    assert (changed.path, parse_qs(changed.query)) == ("/sr", {"state": ["draft"], "after": ["9.2"], "lang": ["ja"]})
    assert parse_qs(urlsplit(asked.at("after", None)).query) == {"state": ["draft"], "lang": ["ja"]}
    assert parse_qs(urlsplit(asked.here(lang="en")).query)["lang"] == ["en"]
    assert asked.twin == "/sr.json?state=draft&after=5.1"


def test_a_url_leaves_out_what_is_empty() -> None:
    assert url("/find", {"q": "a b&c", "after": None, "since": ""}) == "/find?q=a+b%26c"


def test_a_form_may_leave_its_fields_empty() -> None:
    assert parameters(make_mocked_request("GET", "/sr?state=&flag=drift&since=+&lang=ja"), ("state", "flag", "since")) == {
        "flag": "drift"
    }


@pytest.mark.parametrize("query", ["other=1", "state=a&state=b", f"state={'x' * 1001}"])
def test_a_parameter_that_is_not_understood_is_a_mistake_and_never_ignored(query: str) -> None:
    with pytest.raises(Mistake):
        parameters(make_mocked_request("GET", f"/sr?{query}"), ("state",))


def test_half_a_surrogate_pair_in_a_url_is_replaced() -> None:
    found = parameters(make_mocked_request("GET", "/find?q=%ED%A0%BD"), ("q",))
    found["q"].encode()
