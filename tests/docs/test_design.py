"""`docs/design.md` shows the house as it is: its table and its picture are compared with the data of the architecture test."""

from __future__ import annotations

from tests.docs.reading import ROOT, blocks, marked, rows, text_of, words
from tests.support.house import HOUSE, picture

TEXT = text_of(ROOT / "docs/design.md")


def test_the_table_has_every_folder_in_its_order_and_what_it_may_import() -> None:
    found = [(words(row[0])[0], set(words(row[2]))) for row in rows(marked(TEXT, "house"))]
    assert found == list(HOUSE.items())


def test_the_table_says_what_each_folder_owns() -> None:
    assert all(len(row[1]) > 20 for row in rows(marked(TEXT, "house")))


def test_the_picture_is_drawn_from_the_same_data() -> None:
    (block,) = blocks(marked(TEXT, "picture of the house"))
    assert block.text == picture()
