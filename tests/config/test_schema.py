"""The schema for editors is made from the structs and the manual. It is current, and never stricter than the gateway itself."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from msgspec.structs import fields

from gateway.cli.init import TEMPLATE
from gateway.config import load
from gateway.config.schema import FILE, document
from gateway.core.errors import ConfigError
from gateway.core.patterns import OPERATORS, compile_pattern
from gateway.core.values import Duration, Rate, Size
from gateway.host.environment import Environment
from gateway.sinks import SINK_TYPES
from tests.config.manual import EXAMPLE, STRUCTS, everything_uncommented
from tests.config.typical_file import TYPICAL

ROOT = Path(__file__).parents[2]
MANUAL = EXAMPLE.read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads(document(MANUAL))
PROFILES = sorted((ROOT / "config").glob("*.toml"))

GOOD = """
[server]
drain = "20s"
[store]
retention = "90d"
[sources.legitmark]
secrets = [{ env = "S" }]
[sinks.erp]
type = "http"
url = "https://erp.example.internal/"
[sinks.fraud_desk]
type = "slack"
webhook_url = { env = "S" }
[sinks.customer_care]
type = "email"
host = "smtp.example.internal"
sender = "gateway@example.com"
recipients = ["care@example.com"]
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
[[routes]]
name = "all"
sinks = ["erp", "fraud_desk", "customer_care", "archive"]
[[tests]]
name = "one"
event = { event_type = "media_rejected" }
routes = ["all"]
"""


def complaints(text: str) -> list[str]:
    """Return the paths at which a file does not fit the schema."""
    return [error.json_path for error in Draft7Validator(SCHEMA).iter_errors(tomllib.loads(text))]


def is_good(text: str, folder: Path) -> bool:
    """Return True if the gateway itself accepts the file."""
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    try:
        load(file, Environment({}), secrets=False)
    except ConfigError:
        return False
    return True


def keys(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key that the schema names."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "properties" and not path.endswith(".if"):
                for key, value in inner.items():
                    yield f"{path}.{key}", value
                    yield from keys(value, f"{path}.{key}")
            else:
                yield from keys(inner, f"{path}.{name}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from keys(inner, f"{path}.{number}")


def table_of(name: str) -> dict[str, Any]:
    """Return the schema of a table of the example."""
    first, _, second = name.partition(".")
    found: dict[str, Any] = SCHEMA["properties"][first]
    if name.startswith("admin.users."):
        found = found["properties"]["users"]["additionalProperties"]
    elif first in ("routes", "tests", "watch"):
        found = found["items"]
    elif first == "sources":
        found = found["additionalProperties"]
    elif first == "sinks":
        kind = next(kind for kind in SINK_TYPES if f'[sinks.{second}]\n# type = "{kind}"' in MANUAL.replace("\ntype", "\n# type"))
        found = SCHEMA["definitions"][kind]
    return found


def test_it_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == document(MANUAL), "run: make schema"
    assert (ROOT / "config" / FILE.name).read_text(encoding="utf-8") == document(MANUAL)


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("table", STRUCTS)
def test_it_has_every_key_of_the_structs_and_no_other(table: str) -> None:
    known = {field.name for field in fields(STRUCTS[table])} | ({"type"} if table.startswith("sinks.") else set())
    found = table_of(table)
    assert set(found["properties"]) == known
    assert found["additionalProperties"] is False
    assert set(found["required"]) >= {field.name for field in fields(STRUCTS[table]) if field.required}


def test_every_key_is_described() -> None:
    named = list(keys(SCHEMA))
    assert len(named) > 150
    assert [path for path, value in named if len(value.get("description", "")) < 10] == []


def test_a_description_is_what_the_manual_says_above_the_key_or_in_its_list_of_keys() -> None:
    store, slack = table_of("store")["properties"], table_of("sinks.fraud_desk")["properties"]
    assert store["retention"]["description"].startswith("How long finished messages are kept (none of their deliveries")
    assert store["retention"]["description"].endswith("is recognized. Above 0s. Dead deliveries are never purged.")
    assert slack["give_up_after"]["description"].startswith("The longest that a delivery is tried, from its acceptance on.")
    operators = SCHEMA["definitions"]["operators"]["properties"]
    assert operators["suffix"]["description"] == "Ends with."


def test_a_key_that_the_manual_does_not_explain_is_an_error() -> None:
    paragraph = re.search(r"(?:^# .*\n)+(?=# drain = )", MANUAL, re.MULTILINE)
    assert paragraph is not None
    with pytest.raises(LookupError, match=r"nothing of drain in \[server\]"):
        document(MANUAL.replace(paragraph[0], ""))


def test_the_defaults_are_the_ones_of_the_structs() -> None:
    assert table_of("server")["properties"]["max_body"]["default"] == "256KiB"
    assert table_of("sinks.erp")["properties"]["retry"]["default"] == ["0s", "5s", "5m", "30m", "2h"]
    for name, number in {"http": 16, "slack": 1, "email": 2, "jsonl": 1}.items():
        assert SCHEMA["definitions"][name]["properties"]["concurrency"]["default"] == number
    assert "default" not in table_of("sources.legitmark")["properties"]["secrets"]


def test_an_editor_sees_the_keys_of_every_type_of_sink_before_it_knows_which_one_it_is() -> None:
    everywhere = {key for kind in SINK_TYPES for key in SCHEMA["definitions"][kind]["properties"]}
    assert set(SCHEMA["definitions"]["sink"]["properties"]) == everywhere
    assert "default" not in SCHEMA["definitions"]["sink"]["properties"]["concurrency"], "each type has its own"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MANUAL, id="example"),
        pytest.param(everything_uncommented(), id="example with everything uncommented"),
        pytest.param('include = ["routes.d/*.toml"]', id="include"),
        pytest.param(TYPICAL, id="typical"),
        pytest.param(TEMPLATE, id="init"),
        pytest.param(GOOD, id="good"),
        *(pytest.param(file.read_text(encoding="utf-8"), id=file.name) for file in PROFILES),
    ],
)
def test_good_files_fit(text: str) -> None:
    assert complaints(text) == []


def test_the_patterns_of_the_manual_fit() -> None:
    shown = re.findall(r"^#   (\{ .*? \}) {2,}\S", MANUAL, re.MULTILINE)
    patterns = [pattern for pattern in shown if not pattern.startswith(("{ env", "{ file", "{ credential"))]
    assert len(patterns) > 10
    for pattern in patterns:
        assert complaints(f"[[routes]]\nmatch = {pattern}\nsinks = []\n") == [], pattern


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[sevrer]", "$"),
        ('[server]\nlisten = "127.0.0.1:80"', "$.server.listen"),
        ("[sinks.x]\npath = 'a'", "$.sinks.x"),
        ("[sinks.x]\ntype = 'kafka'", "$.sinks.x.type"),
        ("[sinks.x]\ntype = 'jsonl'\npath = 'a'\nurl = 'https://a'", "$.sinks.x"),
        ("[sinks.x]\ntype = 'http'\nurl = 'https://a'\nbearer = 'literal'", "$.sinks.x.bearer"),
        ("[sinks.x]\ntype = 'http'\nurl = 'https://a'\nbearer = { env = 'A', file = 'b' }", "$.sinks.x.bearer"),
        ("[sinks.x]\ntype = 'http'\nurl = 'https://a'\nbreaker = { failure = 3 }", "$.sinks.x.breaker"),
        ("[[routes]]\nmatch = { state = { not = 'A', primary = 'B' } }\nsinks = []", "$.routes[0].match"),
        ("[[routes]]\nmatch = { reference_id = [] }\nsinks = []", "$.routes[0].match"),
        ("[[routes]]\nname = 'without sinks'", "$.routes[0]"),
        ("[routes]\nsinks = []", "$.routes"),
        ("[[tests]]\nname = 'a'\nevent = { }\nsink = ['a']", "$.tests[0]"),
        ("include = 'routes.d'", "$.include"),
    ],
)
def test_an_editor_underlines_what_is_wrong(text: str, where: str) -> None:
    assert set(complaints(text)) == {where}


@pytest.mark.parametrize(
    ("table", "line", "good"),
    [
        ("[sinks.erp]", "concurrency = 1", True),
        ("[sinks.erp]", "concurrency = 256", True),
        ("[sinks.erp]", "concurrency = 0", False),
        ("[sinks.erp]", "concurrency = 257", False),
        ("[sinks.erp]", "concurrency = true", False),
        ("[sinks.erp]", 'retry = ["0s"]', True),
        ("[sinks.erp]", "retry = []", False),
        ("[sinks.erp]", "breaker = { failures = 1 }", True),
        ("[sinks.erp]", "breaker = { failures = 0 }", False),
        ("[sinks.erp]", "reject_on = [300, 599]", True),
        ("[sinks.erp]", "reject_on = [299]", False),
        ("[sinks.erp]", "reject_on = [600]", False),
        ("[sinks.erp]", 'headers = { "x-a" = "b", "x-c" = { env = "S" } }', True),
        ("[sinks.erp]", 'headers = { "x-a" = 1 }', False),
        ("[sinks.erp]", 'rate = "50/s"', True),
        ("[sinks.erp]", "rate = 50", False),
        ("[sinks.erp]", 'ordering = "sr"', True),
        ("[sinks.erp]", 'ordering = "SR"', False),
        ("[sinks.erp]", 'typ = "http"', False),
        ("[sinks.customer_care]", "port = 65535", True),
        ("[sinks.customer_care]", "port = 65536", False),
        ("[sinks.customer_care]", "port = 0", False),
        ("[server]", 'listen = ["[::1]:0", "unix:a", "fd:b", "localhost:80"]', True),
        ("[server]", "listen = []", False),
        ("[server]", 'listen = ["8080"]', False),
        ("[server]", 'listen = ["fd:"]', False),
        ("[sources.legitmark]", 'path = "/a/b~!$&"', True),
        ("[sources.legitmark]", 'path = "a"', False),
        ("[sources.legitmark]", 'path = "/a?b"', False),
        ("[sources.legitmark]", 'path = "/a#b"', False),
        ("[sources.legitmark]", 'path = "/a%20b"', False),
        ("[sources.legitmark]", "identity = { new_type = [], state_change = ['a.b'] }", True),
        ("[sources.legitmark]", "identity = { state_change = ['a..b'] }", False),
        ("[[routes]]", 'source = ["legitmark"]', True),
        ("[[routes]]", 'match = [{ a = 1 }, { "b.c" = { exists = false } }]', True),
        ("[[routes]]", "match = []", False),
        ("[[routes]]", "match = {}", False),
        ("[[routes]]", 'unless = { prefix = "A" }', False),
        ("[[tests]]", 'without = ["reference_id"]', True),
        ("[[tests]]", "without = true", False),
        ("[store]", 'min_free = "1GiB"', True),
        ("[store]", 'min_free = "1 TB"', False),
    ],
)
def test_it_has_the_same_limits_as_the_gateway(table: str, line: str, good: bool, tmp_path: Path) -> None:
    text = GOOD.replace(f"{table}\n", f"{table}\n{line}\n", 1)
    assert text != GOOD
    assert (complaints(text) == []) is is_good(text, tmp_path) is good


@pytest.mark.parametrize(("name", "good"), [("a" * 48, True), ("a" * 49, False), ("Erp", False), ("2b", False), ("e-r_p2", True)])
def test_names_are_the_ones_of_the_gateway(name: str, good: bool, tmp_path: Path) -> None:
    for text in (f"{GOOD}[sinks.{name}]\ntype = 'jsonl'\npath = 'a'\n", f"{GOOD}[sources.{name}]\nverify = 'none'\n"):
        assert (complaints(text) == []) is is_good(text, tmp_path) is good


def test_no_source_can_have_the_name_of_the_gateways_own(tmp_path: Path) -> None:
    text = f"{GOOD}[sources.gateway]\nverify = 'none'\n"
    assert complaints(text)
    assert not is_good(text, tmp_path)


_UNITS = ("ms", "s", "m", "h", "d", "w", "y", "B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB", "TiB", "/s", "/m", "/h", "/d", "")


@pytest.mark.parametrize(
    ("kind", "schema", "beyond"),
    [
        (Duration, table_of("server")["properties"]["drain"], "must be between"),
        (Size, table_of("store")["properties"]["min_free"], None),
        (Rate, table_of("sinks.erp")["properties"]["rate"], "must be above 0"),
    ],
)
def test_durations_sizes_and_rates_are_written_as_the_gateway_reads_them(
    kind: type[Duration | Size | Rate], schema: dict[str, Any], beyond: str | None
) -> None:
    """The message `beyond` is for a value in the right form that is too large or too small, which the schema does not check."""
    validator = Draft7Validator(schema)

    def agree(text: str) -> None:
        try:
            kind(text)
        except ValueError as error:
            if beyond is None or beyond not in str(error):
                assert not validator.is_valid(text), text
        else:
            assert validator.is_valid(text), text

    # Short, since a span of a million years is "not a duration" to the gateway.
    mixed = st.lists(st.sampled_from(("1", "20", ".", "5", " ", *_UNITS)), max_size=6).map("".join)
    for number, unit in itertools.product(("1", "1.5", "0", "12 ", "-1"), _UNITS):
        agree(number + unit)
    settings(deadline=None)(given(mixed)(agree))()


_NAMES = st.one_of(st.sampled_from((*OPERATORS, "state", "milestone", "sides", "a.b", "a..b", "")), st.text("ab", min_size=1))
_SCALARS = st.one_of(st.text("ab"), st.integers(-3, 3), st.booleans(), st.sampled_from((0.5, "COMPLETE", "authentic")))
_CONDITIONS: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_NAMES, inner, max_size=2)), max_leaves=6
)


@settings(deadline=None)
@given(st.dictionaries(_NAMES, _CONDITIONS, min_size=1, max_size=2))
def test_a_pattern_fits_exactly_when_the_gateway_compiles_it(pattern: dict[str, Any]) -> None:
    _, problems = compile_pattern(pattern)
    validator = Draft7Validator({"$ref": "#/definitions/pattern", "definitions": SCHEMA["definitions"]})
    assert validator.is_valid(pattern) is (problems == []), problems
