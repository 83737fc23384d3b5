"""The tables of `docs/reference.md` that follow from the code are the ones that `make docs` writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.cli.errors import UsageError
from gateway.core.errors import EXIT_CODES, GatewayError
from tests.docs.generated import FILE, PARTS, generated
from tests.docs.reading import text_of


@pytest.mark.parametrize("name", PARTS)
def test_a_generated_part_of_the_reference_is_current(name: str) -> None:
    text = text_of(FILE)
    part = text.partition(f"<!-- {name}: generated -->\n")[2].partition("<!-- end -->")[0]
    assert part.splitlines() == list(PARTS[name]()), "run `make docs`"


def test_make_docs_changes_nothing_in_a_current_file() -> None:
    text = text_of(FILE)
    assert generated(text) == text


def test_an_outdated_table_is_written_anew() -> None:
    text = text_of(FILE)
    assert generated(text.replace("| `gateway.stopped` |", "| `gateway.ended` |")) == text


def _kinds(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


def test_every_error_ends_the_process_with_a_code_of_the_list() -> None:
    assert UsageError.exit_code in EXIT_CODES
    assert {kind.exit_code for kind in _kinds(GatewayError)} <= set(EXIT_CODES)
