"""`gateway test`: its verdicts on the [[tests]], and its reports for people and for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.running import Result, gateway
from tests.cli.terminal import GREEN, RED, shown

COUNTERFEIT = '{ event_type = "state_change", state = { primary = "COMPLETE", supplement = "REJECTED" } }'
AUTHENTIC = COUNTERFEIT.replace("REJECTED", "APPROVED")


def written(folder: Path, text: str, name: str = "gateway.toml") -> Path:
    """Write the folder's configuration with a text added at its end."""
    file = folder / name
    file.write_text((folder / "gateway.toml").read_text(encoding="utf-8") + text, encoding="utf-8")
    return file


def expectation(name: str, event: str, *lines: str) -> str:
    return "\n".join(["[[tests]]", f'name = "{name}"', f"event = {event}", *lines, "", ""])


def line_of(file: Path, text: str) -> int:
    """Return the line number of the table that has this name."""
    return file.read_text(encoding="utf-8").splitlines().index(f'name = "{text}"')


def run(folder: Path, *tests: str) -> Result:
    written(folder, "".join(tests))
    return gateway("test", cwd=folder)


def outcome(folder: Path, event: str, *lines: str) -> dict[str, Any]:
    """Run one test, and return its entry in the document."""
    written(folder, expectation("the one", event, *lines))
    (found,) = gateway("test", "--json", cwd=folder).document()["tests"]
    assert isinstance(found, dict)
    return found


# What is expected.


def test_it_ends_with_0_if_all_tests_pass(folder: Path) -> None:
    result = run(
        folder,
        expectation("偽造品は担当へ", COUNTERFEIT, 'sinks = ["archive", "fraud_desk"]', 'routes = ["counterfeits"]'),
        expectation("nobody hears of a draft", '{ event_type = "state_change" }', "sinks = []", "routes = []"),
        expectation("bags", '{ reference_id = "BAG-日本" }', 'sinks = ["archive"]', 'not_sinks = ["fraud_desk"]'),
    )
    file = folder / "gateway.toml"
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"PASS  偽造品は担当へ           gateway.toml:{line_of(file, '偽造品は担当へ')}",
        f"PASS  nobody hears of a draft  gateway.toml:{line_of(file, 'nobody hears of a draft')}",
        f"PASS  bags                     gateway.toml:{line_of(file, 'nobody hears of a draft') + 6}",
        f'no test reaches "cancellations, on purpose"  gateway.toml:{line_of(file, "cancellations, on purpose")}',
        "3 passed, 0 failed; tests reach 2 of 3 routes",
    ]


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        ('sinks = ["fraud_desk", "archive"]', True),
        ('sinks = ["archive", "fraud_desk"]', True),
        ('sinks = ["archive"]', False),
        ("sinks = []", False),
        ('routes = ["counterfeits"]', True),
        ('routes = ["counterfeits", "bags"]', False),
        ("routes = []", False),
        ('not_sinks = ["archive"]', False),
        ("not_sinks = []", True),
        ('sinks = ["archive", "fraud_desk"]\nroutes = ["bags"]', False),
    ],
)
def test_sinks_and_routes_are_exact_sets_and_not_sinks_excludes_sinks(expected: str, passes: bool, folder: Path) -> None:
    assert outcome(folder, COUNTERFEIT, expected)["passed"] is passes
    assert gateway("test", cwd=folder).status == (0 if passes else 1)


# The event.


@pytest.mark.parametrize(
    ("event", "pattern", "matches"),
    [
        ('{ event_type = "state_change" }', "{ sr_uuid = { exists = true }, timestamp = { exists = true } }", True),
        ('{ event_type = "state_change" }', '{ state = { primary = "DRAFT" } }', True),
        ('{ event_type = "state_change", state = { primary = "QC" } }', "{ state = { supplement = { exists = true } } }", False),
        ('{ event_type = "media_rejected" }', '{ "sides.side" = "Front" }', True),
        ('{ event_type = "invalidate_sr" }', '{ "invalidation_reason.code" = "CANCELLED" }', True),
        ('{ event_type = "新しい", item = { name = "鞄" } }', '{ reference_id = "ITEM-1042", item = { name = "鞄" } }', True),
        ('{ event_type = "新しい" }', "{ state = { exists = true } }", False),
        ("{ }", "{ sr_uuid = { exists = true }, event_type = { exists = false } }", True),
        ('{ event_type = "state_change", reference_id = "鞄-1" }', '{ reference_id = "鞄-1" }', True),
    ],
)
def test_missing_top_level_fields_are_filled_and_a_given_table_stays_as_it_is(
    event: str, pattern: str, matches: bool, folder: Path
) -> None:
    written(folder, f'[[routes]]\nname = "asked"\nmatch = {pattern}\nsinks = []\n')
    assert ("asked" in outcome(folder, event, "sinks = []")["actual"]["routes"]) is matches


@pytest.mark.parametrize("event", ['{ event_type = "state_change" }', '{ event_type = "state_change", reference_id = "BAG-1" }'])
def test_without_leaves_a_field_out(event: str, folder: Path) -> None:
    written(folder, '[[routes]]\nname = "no item"\nmatch = { reference_id = { exists = false } }\nsinks = ["archive"]\n')
    assert outcome(folder, event, 'without = ["reference_id"]', "sinks = []")["actual"]["routes"] == ["no item"]


def test_the_source_is_the_first_one_unless_it_is_named(folder: Path) -> None:
    more = '[sources.shop]\nverify = "none"\n'
    for source in ("legitmark", "shop", "gateway"):
        more += f'[[routes]]\nname = "of {source}"\nsource = "{source}"\nsinks = []\n'
    written(folder, more)
    written(
        folder,
        expectation("a", "{ }", 'routes = ["of legitmark"]')
        + expectation("b", "{ }", 'source = "shop"', 'routes = ["of shop"]')
        + expectation("c", '{ event_type = "gateway.delivery_dead" }', 'source = "gateway"', 'routes = ["of gateway"]'),
    )
    result = gateway("test", cwd=folder)
    assert (result.status, result.out.count("PASS")) == (0, 3)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("{ timestamp = 2026-03-01T09:00:00Z }", "event.timestamp: a date is not a JSON value"),
        ("{ item = { made = [2026-03-01] } }", "event.item.made: a date is not a JSON value"),
        ("{ price = inf }", "event.price: is not a number in JSON"),
    ],
)
def test_an_impossible_event_is_an_error_of_the_configuration(event: str, said: str, folder: Path) -> None:
    result = run(folder, expectation("日付", event, "sinks = []"))
    assert (result.status, result.out) == (78, "")
    assert f'[[tests]] "日付" {said}' in result.err


# What it says of those that fail.


def test_a_failure_shows_expectation_result_and_the_responsible_routes(folder: Path) -> None:
    result = run(
        folder,
        '[[routes]]\nname = "記録"\nmatch = { milestone = "authentic" }\nsinks = ["archive"]\n',
        expectation("真贋", AUTHENTIC, 'sinks = ["fraud_desk"]', 'routes = ["counterfeits", "bags"]'),
    )
    file = folder / "gateway.toml"
    counterfeits, records = line_of(file, "counterfeits"), line_of(file, "記録")
    assert result.status == 1
    assert result.out.splitlines()[:8] == [
        f"FAIL  真贋  gateway.toml:{line_of(file, '真贋')}",
        "      expected sinks   fraud_desk",
        "      came     sinks   archive",
        "      expected routes  counterfeits, bags",
        "      came     routes  記録",
        '      fraud_desk is missing: "counterfeits" did not apply: milestone: expected "counterfeit", is "authentic"'
        f"  gateway.toml:{counterfeits + 2}:11",
        f'      archive is not expected: "記録" applied  gateway.toml:{records}',
        f'      "bags" did not apply: reference_id: expected {{"prefix": "BAG-"}}, is "ITEM-1042"'
        f"  gateway.toml:{line_of(file, 'bags') + 2}:11",
    ]
    assert result.out.endswith("0 passed, 1 failed; tests reach 1 of 4 routes\n")


def test_a_forbidden_sink_is_named_with_the_route_that_sends_there(folder: Path) -> None:
    found = outcome(folder, COUNTERFEIT, 'not_sinks = ["archive"]')
    assert found["reasons"] == [
        "expected none of  archive",
        "came     sinks   fraud_desk, archive",
        f'archive is not expected: "counterfeits" applied  gateway.toml:{line_of(folder / "gateway.toml", "counterfeits")}',
    ]


def test_a_sink_that_no_route_names_is_reported(folder: Path) -> None:
    written(folder, '[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n')
    assert "spare is missing: no route names it" in outcome(folder, COUNTERFEIT, 'sinks = ["spare"]')["reasons"]


def test_one_failure_ends_with_1_after_all_tests_have_run(folder: Path) -> None:
    result = run(
        folder,
        expectation("a", COUNTERFEIT, "sinks = []"),
        expectation("b", AUTHENTIC, "sinks = []"),
        expectation("c", "{}", "routes = []"),
    )
    assert result.status == 1
    assert [line[:7] for line in result.out.splitlines() if line[:4] in ("PASS", "FAIL")] == ["FAIL  a", "PASS  b", "PASS  c"]


# The routes that no test reaches.


def test_routes_without_a_test_are_named_and_change_no_exit_code(folder: Path) -> None:
    result = run(folder, expectation("a", '{ reference_id = "BAG-1" }', 'routes = ["bags"]'))
    assert result.status == 0
    assert 'no test reaches "counterfeits"' in result.out
    assert 'no test reaches "cancellations, on purpose"' in result.out
    assert 'no test reaches "bags"' not in result.out


def test_a_route_counts_as_reached_by_a_test_that_fails(folder: Path) -> None:
    assert 'no test reaches "bags"' not in run(folder, expectation("a", '{ reference_id = "BAG-1" }', "sinks = []")).out


def test_it_ends_with_0_and_says_so_if_there_is_no_test(folder: Path) -> None:
    result = gateway("test", cwd=folder)
    assert result.status == 0
    assert result.out.endswith("there is no test; write one beside the routes: [[tests]]\n")


# Files.


def test_tests_of_drop_in_files_are_run_and_named_by_their_file(folder: Path) -> None:
    (folder / "gateway.toml").write_text('include = ["routes.d/*.toml"]\n' + (folder / "gateway.toml").read_text())
    (folder / "routes.d").mkdir()
    (folder / "routes.d" / "日本.toml").write_text("# 試験\n" + expectation("偽", COUNTERFEIT, "sinks = []"), encoding="utf-8")
    assert "FAIL  偽  routes.d/日本.toml:2\n" in gateway("test", cwd=folder).out


def test_several_configurations_can_be_named(folder: Path) -> None:
    good = written(folder, expectation("good", AUTHENTIC, "sinks = []"), "good.toml")
    bad = written(folder, expectation("bad", COUNTERFEIT, "sinks = []"), "bad.toml")
    both = gateway("test", good, bad)
    assert both.status == 1
    assert f"PASS  good  {good}:" in both.out and f"FAIL  bad   {bad}:" in both.out
    assert "1 passed, 1 failed" in both.out
    assert gateway("test", good).status == gateway("test", "--config", good).status == 0


def test_a_bad_configuration_ends_with_78_and_all_problems_of_all_files(folder: Path) -> None:
    good = written(folder, expectation("good", AUTHENTIC, "sinks = []"), "good.toml")
    one, two = written(folder, "[server2]\n", "one.toml"), written(folder, expectation("x", "{}"), "two.toml")
    result = gateway("test", good, one, two)
    assert (result.status, result.out) == (78, "")
    assert "[server2]: unknown table" in result.err and "expects nothing" in result.err


def test_it_reads_no_secret(folder: Path) -> None:
    written(folder, expectation("a", COUNTERFEIT, 'routes = ["counterfeits"]'))
    assert gateway("test", cwd=folder, variables={"LEGITMARK_SECRET": ""}).status == 0


# For programs.


def test_json_is_one_document(folder: Path) -> None:
    written(folder, expectation("合格", AUTHENTIC, "sinks = []") + expectation("不合格", COUNTERFEIT, 'sinks = ["archive"]'))
    result = gateway("test", "--json", cwd=folder)
    document = result.document()
    file = str(folder / "gateway.toml")
    assert result.status == 1
    assert list(document) == ["ok", "tests", "unreached"]
    assert document["ok"] is False
    passed, failed = document["tests"]
    assert passed == {
        "name": "合格",
        "file": file,
        "line": line_of(folder / "gateway.toml", "合格"),
        "passed": True,
        "expected": {"sinks": []},
        "actual": {"sinks": [], "routes": []},
        "reasons": [],
    }
    assert (failed["name"], failed["passed"]) == ("不合格", False)
    assert failed["actual"] == {"sinks": ["fraud_desk", "archive"], "routes": ["counterfeits"]}
    assert failed["reasons"]
    assert [one["name"] for one in document["unreached"]] == ["bags", "cancellations, on purpose"]
    assert document["unreached"][0] == {"name": "bags", "file": file, "line": line_of(folder / "gateway.toml", "bags")}


def test_junit_has_a_case_for_each_test_with_its_file_and_line(folder: Path) -> None:
    name = '不合格 <&> \\"quoted\\" \\u0007 \\n two'
    file = written(folder, expectation("合格", AUTHENTIC, "sinks = []") + expectation(name, COUNTERFEIT, 'sinks = ["archive"]'))
    result = gateway("test", "--junit", "結果.xml", cwd=folder)
    assert result.status == 1
    root = ElementTree.parse(folder / "結果.xml").getroot()
    (suite,) = root.findall("testsuite")
    assert (root.tag, suite.get("tests"), suite.get("failures")) == ("testsuites", "2", "1")
    passed, failed = suite.findall("testcase")
    assert (passed.get("name"), passed.get("file"), passed.get("line")) == ("合格", "gateway.toml", str(line_of(file, "合格")))
    assert passed.find("failure") is None
    assert failed.get("name") == '不合格 <&> "quoted" ? ? two'
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "expected sinks archive; came sinks fraud_desk, archive"
    assert 'fraud_desk is not expected: "counterfeits" applied' in (failure.text or "")
    assert 'no test reaches "bags"' in suite.findtext("system-out", "")


def test_junit_has_a_suite_for_each_configuration_and_goes_with_json(folder: Path) -> None:
    files = [written(folder, expectation(name, AUTHENTIC, "sinks = []"), f"{name}.toml") for name in ("one", "two")]
    result = gateway("test", *files, "--junit", folder / "junit.xml", "--json")
    assert (result.status, result.document()["ok"]) == (0, True)
    suites = ElementTree.parse(folder / "junit.xml").getroot().findall("testsuite")
    assert [suite.get("name") for suite in suites] == list(map(str, files))


def test_a_junit_file_that_can_not_be_written_ends_with_74(folder: Path) -> None:
    result = gateway("test", "--junit", folder / "no" / "junit.xml", cwd=folder)
    assert result.status == 74
    assert "junit.xml can't be written: No such file or directory" in result.err


def test_it_is_coloured_on_a_terminal_but_not_with_no_color_nor_in_a_pipe(folder: Path) -> None:
    written(folder, expectation("a", AUTHENTIC, "sinks = []") + expectation("b", COUNTERFEIT, "sinks = []"))
    seen = shown("test", cwd=folder)
    assert f"{GREEN}PASS" in seen and f"{RED}FAIL" in seen
    assert "\x1b" not in shown("test", cwd=folder, variables={"NO_COLOR": "1"})
    assert "\x1b" not in gateway("test", cwd=folder).out


def test_the_text_of_a_test_can_not_draw_on_the_terminal(folder: Path) -> None:
    hostile = json.dumps("\x1b[31m \u202e\u009b")[1:-1]
    out = run(
        folder, expectation(hostile, f'{{ reference_id = "BAG-{hostile}" }}', "sinks = []"), expectation("x", "{}", "sinks = []")
    ).out
    assert [line for line in out.removesuffix("\n").split("\n") if not line.isprintable()] == []


def test_the_event_of_a_test_has_the_facts_that_the_test_gives_it(folder: Path) -> None:
    late = '[[routes]]\nname = "late"\nmatch = { "state.before" = "QC/PENDING", stale = true }\nsinks = ["archive"]\n'
    written(folder, late)
    facts = 'facts = { stale = true, state.before = "QC/PENDING" }'
    result = run(folder, expectation("late", AUTHENTIC, facts, 'routes = ["late"]'), expectation("not", AUTHENTIC, "routes = []"))
    assert (result.status, result.out.count("PASS")) == (0, 2), result.out
