"""`docs/reference.md` states what the code does: its lists are compared with the code's own."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from gateway.config.settings import (
    AdminSettings,
    AdminUserSettings,
    AuditSettings,
    DefaultsSettings,
    ReconcileSettings,
    RouteSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
)
from gateway.config.settings import TestSettings as Expectation
from gateway.core.events import IDENTITY, Milestone
from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.ledger import Regression
from gateway.core.outcome import Reason
from gateway.core.patterns import OPERATORS, compile_pattern
from gateway.core.samples import SAMPLES
from gateway.core.values import Duration, Rate, Size
from gateway.core.vocabulary import OwnEvent
from gateway.observability.metrics import Metrics
from gateway.sinks import SINK_TYPES
from gateway.sinks.base import SinkSettings
from tests.docs.commands import COMMANDS, options_of
from tests.docs.reading import ROOT, marked, rows, section, text_of, words

TEXT = text_of(ROOT / "docs/reference.md")
TABLES: dict[str, type[Struct]] = {
    "`[server]`": ServerSettings,
    "`[admin]`": AdminSettings,
    "`[admin.users.NAME]`": AdminUserSettings,
    "`[store]`": StoreSettings,
    "`[audit]`": AuditSettings,
    "`[defaults]`": DefaultsSettings,
    "`[reconcile]`": ReconcileSettings,
    "`[sources.NAME]`": SourceSettings,
    "`[sinks.NAME]`: every type": SinkSettings,
    "`[[routes]]`": RouteSettings,
    "`[[tests]]`": Expectation,
    **{f'`type = "{name}"`': kind.config for name, kind in SINK_TYPES.items()},
}
DIFFERS_BY_TYPE = {"concurrency", "rate", "ordering"}
"""Keys of every sink whose default is the type's own: the table says it in words."""
SHARED = {field.name for field in fields(SinkSettings)}


def first_words(name: str) -> list[str]:
    """The texts in backticks of the first column of a table that is held to the code."""
    return [word for row in rows(marked(TEXT, name)) for word in words(row[0])]


def written(value: Any) -> str:
    """A default as TOML writes it; empty if there is none."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Duration() | Size() | Rate() | str():
            return f'"{value}"'
        case int():
            return str(value)
        case list():
            return f"[{', '.join(written(item) for item in value)}]"
        case dict():
            return "{}"
        case _:
            pairs = msgspec.structs.asdict(value).items()
            return f"{{ {', '.join(f'{key} = {written(inner)}' for key, inner in pairs)} }}"


def default_of(field: FieldInfo) -> str:
    if field.required:
        return "required"
    return written(field.default if field.default is not NODEFAULT else field.default_factory())


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_of_the_configuration_has_every_key_with_its_default(heading: str) -> None:
    kind = TABLES[heading]
    own = [
        field for field in fields(kind) if kind is SinkSettings or not issubclass(kind, SinkSettings) or field.name not in SHARED
    ]
    expected = {field.name: default_of(field) for field in own}
    for name in DIFFERS_BY_TYPE & expected.keys() if kind is SinkSettings else ():
        expected[name] = ""
    found = {words(row[0])[0]: (words(row[1]) or [row[1]])[0] for row in rows(section(TEXT, heading))}
    assert found == expected


def test_the_keys_of_every_sink_say_the_defaults_that_differ_by_type() -> None:
    (row,) = [row for row in rows(section(TEXT, "`[sinks.NAME]`: every type")) if row[0] == "`concurrency`"]
    for name, kind in SINK_TYPES.items():
        default = next(field.default for field in fields(kind.config) if field.name == "concurrency")
        assert f"`{name}` {default}" in row[2], "say the default of the type in the row of `concurrency`"


def test_the_reference_says_of_every_type_what_its_sinks_receive() -> None:
    headings = re.findall(r"^### `(\w+)`$", section(TEXT, "What a sink receives"), re.MULTILINE)
    assert sorted(headings) == sorted(SINK_TYPES), 'each type has a heading below "What a sink receives"'


def test_the_answers_are_the_ones_that_the_gateway_counts() -> None:
    metrics = Metrics()
    metrics.expect(["legitmark"], [])
    counted = set(re.findall(r'rejections_total\{.*?reason="(\w+)"', metrics.exposition().decode()))
    codes = [words(row[1])[0] for row in rows(marked(TEXT, "answers"))]
    assert sorted(codes) == sorted(counted)
    assert len(codes) == len(set(codes))


def test_the_identities_are_the_defaults() -> None:
    assert {words(row[0])[0]: words(row[1]) for row in rows(marked(TEXT, "identities"))} == IDENTITY


def test_the_operators_are_the_ones_of_the_pattern_language() -> None:
    assert first_words("operators") == list(OPERATORS), "the table has one row for each operator, in the order of OPERATORS"


def test_the_operators_that_take_a_list_are_the_ones_that_compare_texts() -> None:
    (said,) = re.findall(r"^(.*) also take a list, of which any may match", TEXT, re.MULTILINE)
    taking = [name for name in OPERATORS if name != "not" and not compile_pattern({"a": {name: ["x"]}})[1]]
    assert words(said) == taking, "name them in the sentence below the table of operators, in the order of OPERATORS"


def test_the_milestones_are_the_closed_list_and_say_which_event_has_them() -> None:
    found = {words(row[0])[0]: row[1] for row in rows(marked(TEXT, "milestones"))}
    assert list(found) == [milestone.value for milestone in Milestone]
    for name, said in found.items():
        sample = SAMPLES[name]
        if name == "unrecognized":
            continue
        assert words(said) == [sample["event_type"]]
        if sample["event_type"] == "state_change":
            assert [text for text in sample["state"].values() if text] == said.partition(" to ")[2].split(" / ")


def test_the_facts_are_all_named_in_their_order() -> None:
    assert [words(row[0])[0] for row in rows(marked(TEXT, "facts"))] == list(FACT_FIELDS)
    (regressions,) = [row[1] for row in rows(marked(TEXT, "facts")) if row[0] == "`terminal_regression`"]
    assert words(regressions) == [regression.value for regression in Regression]


def test_the_gateways_own_events_are_all_named() -> None:
    assert first_words("own events") == list(OwnEvent)


def test_the_reasons_are_the_closed_list() -> None:
    assert first_words("reasons") == [reason.value for reason in Reason]


def test_every_command_stands_in_the_list_of_commands() -> None:
    rows_of_commands = [re.match(r"gateway(?: [a-z]+)+", words(row[0])[0]) for row in rows(marked(TEXT, "commands"))]
    assert sorted(found[0] for found in rows_of_commands if found) == sorted(COMMANDS), "one row for each command"


@pytest.mark.parametrize("row", rows(marked(TEXT, "commands")), ids=lambda row: str(words(row[0])[0]))
def test_the_options_that_the_list_of_commands_names_exist(row: list[str]) -> None:
    name = re.match(r"gateway(?: [a-z]+)+", words(row[0])[0])
    assert name is not None
    named = {word.split()[0] for cell in row for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", cell)}
    assert named <= options_of(name[0])


def test_the_environment_variables_are_the_ones_that_the_gateway_reads() -> None:
    read = set()
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        read |= set(re.findall(r'(?:get|directory)\(\s*"([A-Z][A-Z_]{4,})"', text))
    named = {name for row in rows(section(TEXT, "Environment variables")) for name in words(row[0])}
    assert read <= named
    assert named - read <= {"SSL_CERT_FILE", "STATE_DIRECTORY", "LOGS_DIRECTORY"}, (
        "read by the libraries, or by a name in a variable"
    )
