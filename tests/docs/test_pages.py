"""`docs/reference.md`, "Pages": the pages, their parameters and their roles, compared with the table of pages."""

from __future__ import annotations

from gateway.web.pages.page_table import PAGES
from tests.docs.reading import ROOT, marked, rows, text_of, words

TABLE = marked(text_of(ROOT / "docs/reference.md"), "pages")


def test_the_reference_has_every_page_with_its_parameters_and_its_role() -> None:
    found = [(words(row[0])[0], tuple(words(row[2])), words(row[3])[0]) for row in rows(TABLE)]
    assert found == [(page.path, page.query, page.role.value) for page in PAGES]
