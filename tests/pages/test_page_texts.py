"""The texts of the pages: the same keys in each language, every one of them used, and none that would have to be escaped."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gateway.control.act_list import AnyAct
from gateway.control.evidence_files import WhyNone
from gateway.core.attention import MOST_COUNTED, Concern, SinkCondition
from gateway.core.caught_facts import JudgedBy
from gateway.core.documents import Held
from gateway.core.events import Milestone
from gateway.core.ledger import FLAG_WORDS, Regression
from gateway.core.outcome import OUTCOME_NAMES, Reason
from gateway.core.request_pictures import UNREADABLE
from gateway.core.selection import DELIVERY_STATES, MESSAGE_STATUSES
from gateway.core.signature_findings import BodyChange, Kind
from gateway.core.users import Role
from gateway.core.why_not import NotBecause
from gateway.reconcile.inquiries import Standing
from gateway.reconcile.jobs import Outcome
from gateway.web.door.login_view import LoginProblem
from gateway.web.pages.catalogue import LOCALES, Catalogue, Text, catalogue
from gateway.web.pages.page_table import PAGES
from gateway.web.pages.views.act_page import BULK, CHOICE, DOINGS, SWITCHES

FOLDER = Path(__file__).parent.parent.parent / "gateway/web/pages"
ENGLISH = catalogue("en")
KINDS_OF_PROBLEMS = ("missing", "not_there", "not_allowed", "mistake", "store_failing", *get_args(WhyNone))
FAMILIES: dict[str, tuple[str, ...]] = {
    "nav.": tuple(page.name for page in PAGES if page.in_navigation),
    "page.role_": tuple(Role),
    "problem.": tuple(f"{kind}{end}" for kind in KINDS_OF_PROBLEMS for end in ("", "_do")),
    "span.": ("second", "minute", "hour", "day"),
    "month.": tuple(str(number) for number in range(1, 13)),
    "overview.": ("received", "delivered", "refused"),
    "sink_state.": get_args(SinkCondition),
    "attention.": get_args(Concern),
    "milestone.": (*Milestone, "none"),
    "flag.": (*FLAG_WORDS, *Regression),
    "flag_means.": FLAG_WORDS,
    "status.": MESSAGE_STATUSES,
    "fate.held_": tuple(held.replace(" ", "_") for held in get_args(Held)),
    "why.": get_args(NotBecause),
    "login.": get_args(LoginProblem),
    "delivery.": DELIVERY_STATES,
    "outcome.": tuple(OUTCOME_NAMES.values()),
    "reason.": tuple(Reason),
    "doing.": DOINGS,
    "do.": (*DOINGS, *(f"{act}_{end}" for act in BULK for end in ("n", "all"))),
    "did.": get_args(AnyAct),
    "acts.changed_": BULK,
    "act.means_": (*SWITCHES, "drill"),
    "asked.": (*get_args(Outcome), "under_way", "lost"),
    "inquiry.": get_args(Standing),
    "about.": tuple(name for name in CHOICE if name not in ("delivered", "group")),
    "finding.": (*(kind.value for kind in Kind), "stale_ahead"),
    "change.": tuple(BodyChange),
    "play.facts_by_": get_args(JudgedBy),
    "unreadable.": tuple(UNREADABLE.values()),
}
"""The closed lists from which templates and code make the ends of keys, by their beginnings."""


def forms(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def placeholders(text: Text) -> set[str]:
    return {name for form in forms(text) for name in re.findall(r"\{(\w+)\}", form)}


def keys_in(templates: str) -> Iterator[str]:
    """Every key that templates name, and for a key that is put together its beginning."""
    yield from (name for name, _ in re.findall(r'\b(?:t|with_elements?)\("([\w.]+)"(\s*~)?', templates))
    yield from re.findall(r'"((?:request)\.act\w*)"', templates)


def keys_in_code(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ENGLISH:
            yield node.value
        if isinstance(node, ast.JoinedStr) and isinstance(first := node.values[0], ast.Constant):
            yield str(first.value)


def used() -> set[str]:
    templates = "".join(path.read_text(encoding="utf-8") for path in sorted((FOLDER / "templates").glob("*.html")))
    named = set(keys_in(templates))
    found = set(named)
    for path in sorted(FOLDER.rglob("*.py")):
        found |= set(keys_in_code(path.read_text(encoding="utf-8")))
    whole = {key for key in found if key in ENGLISH} | {key for key in named if not key.endswith((".", "_"))}
    return whole | {f"{family}{end}" for family in found & FAMILIES.keys() for end in FAMILIES[family]}


@pytest.mark.parametrize("language", LOCALES)
def test_each_language_has_the_same_keys_with_the_same_placeholders(language: str) -> None:
    (other,) = (catalogue(locale) for locale in LOCALES if locale == language)
    assert other.texts.keys() == ENGLISH.texts.keys()
    for key, text in other.texts.items():
        assert placeholders(text) == placeholders(ENGLISH.texts[key]), key


def test_every_text_is_used_and_every_key_that_is_used_has_a_text() -> None:
    found = used()
    assert sorted(ENGLISH.texts.keys() - found) == []
    assert sorted(key for key in found if key not in ENGLISH) == []


@pytest.mark.parametrize("language", LOCALES)
def test_no_text_has_a_character_that_would_have_to_be_escaped(language: str) -> None:
    (texts,) = (catalogue(locale).texts for locale in LOCALES if locale == language)
    assert [key for key, text in texts.items() if any(set(form) & set("<>&") for form in forms(text))] == []


def test_a_text_that_counts_has_a_form_for_one() -> None:
    assert ENGLISH.text("requests.waiting", n=1) == "1 waiting"
    assert ENGLISH.text("request.events", n=1) == "1 event"
    assert ENGLISH.text("request.events", n=MOST_COUNTED) == "10,000 events"
    assert ENGLISH.text("request.events", n=0) == "0 events"


def test_a_value_is_never_taken_for_a_placeholder() -> None:
    texts = Catalogue("en", {"said": "{one} and {two}"})
    assert texts.text("said", one="{two}", two="{one}") == "{two} and {one}"
