"""The answers of a site around its pages: twins, problems, roles, languages, files, and a store that fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.core.errors import StoreError
from gateway.core.request_documents import FoundRequests
from gateway.core.users import Role
from gateway.web.pages.catalogue import LOCALES, catalogue
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.page_table import PAGES
from tests.pages.conftest import Asking

Site = Callable[..., Asking]
HOSTILE = '"><img src=x onerror=alert(1)>\u202e\u0000</title>'


class Failing:
    """A part of the gateway whose store does not answer, whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object, **__: object) -> None:
            raise StoreError("the disk is gone")

        return fail


class FailingActs:
    """Acts of people on such a store."""

    bulk = done = trial = Failing()
    sampling = SimpleNamespace(sources=["legitmark"])
    jobs = SimpleNamespace(under_way=list)


NO_CONFIGURATION = SimpleNamespace(sinks={}, watches=(), tests=())


class Nothing:
    """A ledger without any service request, and a store without any message."""

    async def find(self, name: str, source: str | None = None) -> FoundRequests:
        return FoundRequests((), False, None, ("ITEM-1", HOSTILE), None, True)

    async def list(self, *_: object) -> tuple[tuple[Any, ...], None]:
        return (), None

    async def messages(self, *_: object) -> tuple[tuple[Any, ...], None]:
        return (), None


@pytest.fixture
def empty(asking_of: Site) -> Asking:
    return asking_of(requests=Nothing(), browse=Nothing())


@pytest.mark.parametrize("language", LOCALES)
async def test_a_page_without_rows_says_so_in_the_language_of_the_reader(empty: Asking, language: str) -> None:
    (texts,) = (catalogue(locale) for locale in LOCALES if locale == language)
    shown = await empty.html("/sr", headers={"Accept-Language": language})
    assert f'<html lang="{language}">' in shown
    assert texts.text("requests.none") in shown
    assert texts.text("requests.none_fit") in await empty.html(f"/sr?state=draft&lang={language}")


async def test_links_keep_the_language_that_the_url_chose_and_no_other(empty: Asking) -> None:
    chosen, preferred = await empty.html("/sr?lang=ja"), await empty.html("/sr", headers={"Accept-Language": "ja"})
    assert 'href="/?lang=ja"' in chosen and '<input type="hidden" name="lang" value="ja">' in chosen
    assert 'href="/"' in preferred and 'name="lang"' not in preferred


async def test_a_search_that_finds_nothing_says_what_was_searched_and_quotes_it_harmlessly(empty: Asking) -> None:
    shown = await empty.html("/find?q=%22%3E%3Cscript%3E%E2%80%AE")
    assert catalogue("en").text("find.searched").partition("(")[0] in shown
    assert "<script>" not in shown and "⟦U+202E⟧" in shown
    assert "<img src" not in shown and "\u202e" not in shown and "\0" not in shown


async def test_a_name_that_nothing_has_is_answered_404_and_quoted_harmlessly(empty: Asking) -> None:
    shown = await empty.html("/sr/%22%3E%3Cscript%3E%E2%80%AE", status=404)
    assert "<script>" not in shown and "⟦U+202E⟧" in shown
    assert await empty.json("/sr/nobody.json", status=404) == {"error": "not_there", "detail": "nobody"}


async def test_an_address_of_no_page_is_a_page_for_browsers_and_nothing_for_programs(empty: Asking) -> None:
    assert catalogue("en").text("problem.missing") in await empty.html("/nowhere", status=404)
    assert await empty.answer("/nowhere", headers={"Accept": "*/*"}) is None


@pytest.mark.parametrize("path", ["/sr?state=happy", "/sr?after=x", "/sr?since=soon", "/sr?color=red", "/sr/x?before=-1"])
async def test_an_address_that_asks_for_the_impossible_says_what_is_wrong(empty: Asking, path: str) -> None:
    if path.startswith("/sr/x"):
        await empty.html(path, status=404)  # there is no such request, whatever else is asked
        return
    name = path.partition("?")[2].partition("=")[0]
    assert f"{name}" in await empty.html(path, status=400)
    shown = await empty.json(path.replace("?", ".json?"), status=400)
    assert shown["error"] == "mistake" and name in shown["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_page_changes_nothing(empty: Asking, method: str) -> None:
    answer = await empty.answer("/sr", method=method)
    assert answer is not None and (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


WITHOUT_STORE = ("overview", "play", "caught")
"""Pages that answer while the store fails: what they show is in memory."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in WITHOUT_STORE], ids=lambda page: page.name)
async def test_a_page_answers_while_the_store_fails_and_says_why(asking_of: Site, page: Any) -> None:
    parts = {"requests": Failing(), "browse": Failing(), "self_report": Failing(), "acts": FailingActs()}
    failing = asking_of(**parts, config=lambda: NO_CONFIGURATION, trouble="the disk is gone")
    path = re.sub(r"\{\w+\}", "x", page.path)
    query = {"find": "?q=x", "act": "?do=replay&id=x"}.get(page.name, "")
    shown = await failing.html(f"{path}{query}", status=503)
    assert "the disk is gone" in shown and shown.count('role="alert"') == 1
    failed = await failing.json(f"{path}.json{query}", status=503)
    assert failed == {"error": "store_failing", "detail": "the disk is gone"}


async def test_a_page_that_can_answer_has_a_banner_while_the_store_fails(asking_of: Site) -> None:
    troubled = asking_of(requests=Nothing(), trouble="the disk is <full>")
    shown = await troubled.html("/sr")
    assert 'class="banner"' in shown and "the disk is &lt;full&gt;" in shown


async def test_a_visitor_sees_who_they_are_and_what_they_may_do(empty: Asking) -> None:
    assert "ann · support" in await empty.html("/sr", Role.SUPPORT)
    assert "ann · 操作" in await empty.html("/sr?lang=ja", Role.OPERATE)


def test_a_browser_may_keep_a_file_because_its_url_changes_with_its_content() -> None:
    files = PageFiles()
    for name in ("page.css", "page.js", "page.svg"):
        found = files.answer(make_mocked_request("GET", files.url(name)))
        assert found is not None and "immutable" in found.headers["Cache-Control"]
        again = files.answer(make_mocked_request("GET", files.url(name), {"If-None-Match": found.headers["ETag"]}))
        assert again is not None and (again.status, again.body) == (304, None)
    assert files.answer(make_mocked_request("GET", "/assets/0/page.css")) is None
    assert files.answer(make_mocked_request("GET", "/assets/../page.css")) is None


def test_the_files_are_small_and_the_script_touches_nothing_that_parses_markup() -> None:
    files = PageFiles()
    bodies = {name: files.answer(make_mocked_request("GET", files.url(name))) for name in ("page.css", "page.js")}
    sizes = {name: len(answer.body) for name, answer in bodies.items() if answer is not None and isinstance(answer.body, bytes)}
    assert sizes["page.css"] <= 20 * 1024 and sizes["page.js"] <= 10 * 1024
    script = bodies["page.js"]
    assert script is not None and isinstance(script.body, bytes)
    for word in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval(", b"DOMParser", b"createPolicy"):
        assert word not in script.body


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_template_has_a_script_or_a_style_of_its_own(page: Any) -> None:
    text = resources.files("gateway.web.pages").joinpath("templates", page.template).read_text(encoding="utf-8")
    assert [word for word in (" style=", "<script", "<style", "javascript:") if word in text] == []
    assert re.search(r"\son\w+=", text) is None


async def test_a_text_of_any_length_is_cut_and_gets_no_address_that_is_too_long(asking_of: Site) -> None:
    class Long(Nothing):
        async def find(self, name: str, source: str | None = None) -> FoundRequests:
            return FoundRequests((), False, None, ("x" * 200_000, "y" * 500), None, True)

    shown = await asking_of(requests=Long(), browse=Nothing()).html(f"/find?q={'z' * 900}")
    assert len(shown) < 20_000
    assert f'href="/find?q={"y" * 500}"' in shown and f"{'y' * 400}… (+100)</a>" in shown
    assert f"{'x' * 400}… (+199,600)" in shown and "q=xxx" not in shown
    assert f'name="q" type="search" value="{"z" * 900}"' in shown, "a field has all that was typed"
