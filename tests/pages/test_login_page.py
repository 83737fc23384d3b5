"""The page to sign in, as the door has it drawn."""

from __future__ import annotations

import pytest

from gateway.web.door.login_page import LoginView, Problem
from gateway.web.pages.catalogue import LOCALES, Locale
from gateway.web.pages.drawing import Drawing
from gateway.web.pages.page_files import PageFiles


def login_page(view: LoginView) -> str:
    return Drawing(view.language, False, PageFiles(), ()).draw("login.html", 0.0, {"view": view})


def shown(language: Locale, problem: Problem | None) -> str:
    return login_page(LoginView(language=language, next="/sr", problem=problem, wait_seconds=6))


@pytest.mark.parametrize("problem", [None, "wrong", "too_many", "no_tokens"])
def test_the_page_is_the_same_in_each_language_except_for_its_words(problem: Problem | None) -> None:
    pages = [shown(language, problem) for language in LOCALES]
    assert len({page.count("<") for page in pages}) == 1
    assert ["<form" in page for page in pages] == [problem != "no_tokens"] * 2
    assert ["6" in page.partition("<h1>")[2] for page in pages] == [problem == "too_many"] * 2


def test_the_page_quotes_nothing_that_could_become_markup() -> None:
    hostile = '"><script>alert(1)</script>'
    page = login_page(LoginView(language="en", next=hostile, try_again=hostile))
    assert "<script" not in page and page.count("&lt;script") == 2
