"""`gateway.toml.example` is the manual: all keys are in it, it tells the truth about them, and every part of it works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, structs
from msgspec.structs import FieldInfo, fields

from gateway.config import Config, load
from gateway.config.decode import decode_table
from gateway.config.location import Finding, Place
from gateway.config.settings import RouteSettings, ServerSettings, StoreSettings, WatchSettings
from gateway.config.settings import TestSettings as Expectation
from gateway.core.events import IDENTITY, Milestone
from gateway.core.patterns import OPERATORS, compile_pattern
from gateway.core.values import Duration, Rate, Size
from gateway.host.environment import Environment
from gateway.sinks import SINK_TYPES
from gateway.sinks.base import Breaker
from tests.config.manual import (
    EXAMPLE,
    NOT_YET,
    STRUCTS,
    TABLES,
    Key,
    Table,
    everything_uncommented,
    example_with,
    keys_of,
)
from tests.support.webhooks import SECRET

TEXT = EXAMPLE.read_text(encoding="utf-8")
SECRETS = {
    "LEGITMARK_SECRET": SECRET,
    "ERP_SECRET": SECRET,
    "FRAUD_DESK_WEBHOOK": "https://hooks.example.com/services/T0/B0/x",
    "SMTP_PASSWORD": "correct-horse",
    "SUZUKI_TOKEN": "a-token-of-suzuki-4711",
    "LEGITMARK_API_KEY": "leo_test_4711",
}


COMMENTED = [pytest.param(table, id=f"{table.name}-{table.start}") for table in TABLES if table.commented]

FIELDS = [
    pytest.param(table, field, id=f"{table}-{field.name}")
    for table, struct in STRUCTS.items()
    for field in fields(struct)
    if field.name not in ("identity", "users")  # tables of their own, tested below and with the others
]


def default_of(field: FieldInfo) -> Any:
    """Return the default of a field; None if it has none."""
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else None


def load_text(text: str, folder: Path, *, secrets: bool = True) -> Config:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    read = {key for kind in SINK_TYPES.values() for key in kind.reads}
    for name in re.findall(rf'^(?:{"|".join(read)}) = "([^/].*?)"', text, re.MULTILINE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{{ headline }}", encoding="utf-8")
    return load(file, Environment(SECRETS), secrets=secrets)


def place_of(table: Table, key: Key) -> str:
    return f"[{table.name}] {key.name}"


def test_it_runs_as_it_is_with_one_secret_and_no_warning() -> None:
    config = load(EXAMPLE, Environment({"LEGITMARK_SECRET": SECRET}))
    assert config.warnings == ()
    assert list(config.sources) == ["legitmark"]
    assert list(config.sinks) == ["archive"]
    assert {sink for route in config.routes for sink in route.sinks} == {"archive"}
    assert len(config.secrets) == 1


def test_its_defaults_for_places_are_the_ones_that_are_used() -> None:
    config = load(EXAMPLE, Environment({"LEGITMARK_SECRET": SECRET}))
    written = {place_of(table, key): key.value for table in TABLES for key in table.keys()}  # noqa: SIM118 (a method)
    assert config.database == EXAMPLE.parent / written["[store] path"]
    assert config.audit_log == EXAMPLE.parent / written["[audit] path"]
    assert config.sources["legitmark"].path == written["[sources.legitmark] path"]


@pytest.mark.parametrize(("table", "field"), FIELDS)
def test_every_key_is_in_it(table: str, field: FieldInfo) -> None:
    assert field.name in {key.name for key in keys_of(table)}


@pytest.mark.parametrize("table", STRUCTS)
def test_every_key_in_it_exists_and_appears_once(table: str) -> None:
    known = {field.name for field in fields(STRUCTS[table])} | ({"type"} if table.startswith("sinks.") else set())
    for block in [block for block in TABLES if block.name == table]:
        names = [key.name for key in block.keys()]  # noqa: SIM118 (a method)
        assert sorted(set(names)) == sorted(names)
        assert set(names) <= known


@pytest.mark.parametrize(("table", "field"), FIELDS)
def test_a_commented_key_shows_the_default(table: str, field: FieldInfo) -> None:
    default = default_of(field)
    commented = [key for key in keys_of(table) if key.name == field.name and key.commented]
    assert commented or default is None or field.name in ("secrets", "recipients"), "an empty list of these can't work"
    for key in commented:
        assert not field.required, "a key that is needed is no comment"
        findings: list[Finding] = []
        needed = {key.name: key.value for key in keys_of(table) if not key.commented and key.name != "type"}
        decoded = decode_table(STRUCTS[table], needed | {key.name: key.value}, Place(Path("here")), findings)
        assert findings == []
        if default is not None:
            assert getattr(decoded, field.name) == default


def test_a_commented_key_without_a_default_says_so() -> None:
    """Only for tables whose lines are the whole explanation; elsewhere a paragraph above the key explains it."""
    without = {"allow_networks", "rate", "token", "channel", "locale", "timezone", "link", "template", "on_stale"}
    for table in [table for table in TABLES if table.name.startswith("sinks.")]:
        for key in [key for key in table.keys() if key.name in without and key.commented]:  # noqa: SIM118 (a method)
            field = next(field for field in fields(STRUCTS[table.name]) if field.name == key.name)
            assert ("no default" in key.line) == (default_of(field) is None), key.line


def test_the_defaults_of_the_breaker_and_of_the_identity_are_complete() -> None:
    for key in [key for table in STRUCTS for key in keys_of(table) if key.name == "breaker"]:
        assert set(key.value) == {field.name for field in fields(Breaker)}
    assert {key.name: key.value for key in keys_of("sources.legitmark.identity")} == IDENTITY


@pytest.mark.parametrize("table", COMMENTED)
def test_a_commented_table_works_once_its_comment_signs_are_gone(table: Table, tmp_path: Path) -> None:
    shown = {table.start: table.lines}
    if any("customer_care" in line for line in table.lines):  # the route that mails: its sink has to be there, too
        shown |= {other.start: other.lines for other in TABLES if other.name == "sinks.customer_care"}
    config = load_text(example_with(shown), tmp_path)
    assert [problem.wrong for problem in config.warnings if "no route names" not in problem.wrong] == []
    kind, _, name = table.name.partition(".")
    assert kind != "sinks" or name in config.sinks
    assert kind != "routes" or len(config.routes) == 4
    assert kind != "tests" or len(config.tests) == 1


def test_every_sink_type_is_shown() -> None:
    shown = [
        key.value for table in TABLES if table.name.startswith("sinks.") for key in keys_of(table.name) if key.name == "type"
    ]
    assert sorted(shown) == sorted(SINK_TYPES), "add a commented table of the type"
    (said,) = re.findall(r"^#   type +(.*)\. Required\.$", TEXT, re.MULTILINE)
    assert sorted(re.findall(r'"(.*?)"', said)) == sorted(SINK_TYPES), "name the type in the list of keys that every sink has"


def test_it_loads_with_everything_uncommented(tmp_path: Path) -> None:
    config = load_text(everything_uncommented(), tmp_path, secrets=False)
    assert len(config.sinks) == len(SINK_TYPES)
    assert structs.replace(config.server, tls=None) == ServerSettings(), "TLS has no default to show"
    assert config.store == StoreSettings(path="gateway.db")


def test_exactly_the_keys_without_effect_say_so(tmp_path: Path) -> None:
    config = load_text(everything_uncommented(), tmp_path, secrets=False)
    warned = {problem.place for problem in config.warnings if NOT_YET in problem.wrong}
    said = {place_of(table, key) for table in TABLES for key in table.keys() if NOT_YET in key.line}  # noqa: SIM118 (a method)
    assert said == warned


def test_the_paragraph_on_all_sinks_names_each_key_that_they_share_and_says_what_has_no_effect_yet(tmp_path: Path) -> None:
    start, end = TEXT.index("These keys are the same"), TEXT.index("The types that dial out")
    paragraphs = dict(re.findall(r"^#   ([a-z_]+) +(.*(?:\n#    +.*)*)", TEXT[start:end], re.MULTILINE))
    shared = set.intersection(*({field.name for field in fields(kind.config)} for kind in SINK_TYPES.values()))
    assert set(paragraphs) == shared | {"type"}
    config = load_text(everything_uncommented(), tmp_path, secrets=False)
    warned = {
        problem.place.split()[-1]
        for problem in config.warnings
        if problem.place.startswith("[sinks.archive]") and NOT_YET in problem.wrong
    }
    assert {name for name, text in paragraphs.items() if NOT_YET in text} == warned


def test_the_paragraphs_on_routes_watches_and_tests_name_each_of_their_keys() -> None:
    for struct, heading, until in (
        (RouteSettings, "The keys of a route:", "An event that no"),
        (WatchSettings, "The keys of a watch:", "[[watch]]"),
        (Expectation, "The keys:", "At least"),
    ):
        start = TEXT.index(heading)
        part = TEXT[start : TEXT.index(until, start)]
        assert re.findall(r"^#   ([a-z_]+)  ", part, re.MULTILINE) == [field.name for field in fields(struct)]


def test_each_pattern_in_the_manual_compiles_and_together_they_show_every_operator() -> None:
    start, end = TEXT.index("A pattern is a table"), TEXT.index("[[routes]]\nname")
    patterns = re.findall(r"^#   (\{ .*)$", TEXT[start:end], re.MULTILINE)
    assert len(patterns) >= 15
    shown = set()
    for pattern in patterns:
        _, problems = compile_pattern(tomllib.loads(f"pattern = {balanced(pattern)}")["pattern"])
        assert problems == [], pattern
        shown |= {operator for operator in OPERATORS if re.search(rf"[{{,] {operator} = ", pattern)}
    in_prose = {"gt", "lte"}
    assert shown | in_prose >= set(OPERATORS)
    for operator in in_prose:
        assert re.search(rf"\b{operator}\b", TEXT[start:end])


def test_the_manual_names_every_milestone() -> None:
    start = TEXT.index("The milestones:")
    assert set(re.findall(r"[a-z_]+", TEXT[start : start + 600])) >= {milestone.value for milestone in Milestone}


def test_the_durations_sizes_and_rates_in_the_manual_are_valid() -> None:
    for word, kind in (("durations", Duration), ("sizes", Size), ("rates", Rate)):
        line = next(line for line in TEXT.splitlines() if line.startswith(f"#   {word} "))
        quoted = re.findall(r'"([^"]+)"', line)
        assert len(quoted) >= 3
        for text in quoted:
            assert kind(text) > 0


def test_it_names_no_host_outside_the_reserved_domains() -> None:
    hosts = re.findall(r"(?:https?://(?!slack\.com/api)|@)([\w.-]+)", TEXT) + re.findall(r'host = "([^"]+)"', TEXT)
    assert len(hosts) >= 4
    outside = [host for host in hosts if not re.fullmatch(r"(.+\.)?example\.(com|internal)", host)]
    assert outside == [], "name a host below example.com or example.internal, which belong to nobody"


def test_it_is_readable_on_a_terminal() -> None:
    assert all(len(line) <= 130 and line.isprintable() and line == line.rstrip() for line in TEXT.splitlines())


def balanced(text: str) -> str:
    """Return the first inline table of a text."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[: at + 1]
    raise AssertionError(text)
