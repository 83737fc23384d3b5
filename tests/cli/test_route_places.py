"""`gateway route` shows the file and line of each route, and the place of each condition that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from rich.cells import cell_len

from tests.cli.running import gateway
from tests.cli.terminal import GREEN, shown

HEAD = """
include = ["routes.d/*.toml"]

[sources.legitmark]
secrets = [{ env = "LEGITMARK_SECRET" }]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"
"""


class Rules(Struct, frozen=True):
    folder: Path

    def write(self, main: str, **drop_in: str) -> None:
        (self.folder / "gateway.toml").write_text(HEAD + main, encoding="utf-8")
        (self.folder / "routes.d").mkdir(exist_ok=True)
        for name, text in drop_in.items():
            (self.folder / "routes.d" / f"{name}.toml").write_text(text, encoding="utf-8")

    def failed(self, route: str, *arguments: str) -> dict[str, Any]:
        document = gateway("route", *(arguments or ("counterfeit",)), "--json", cwd=self.folder).document()
        (failed,) = (one["failed"] for one in document["routes"] if one["name"] == route)
        assert isinstance(failed, dict)
        return failed

    def meant(self, route: str, *arguments: str) -> str:
        """Return the text that a failure points at, to the end of its line."""
        failed = self.failed(route, *arguments)
        line: str = Path(failed["file"]).read_text(encoding="utf-8").splitlines()[failed["line"] - 1]
        return line[failed["column"] - 1 :]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(tmp_path)


def route(name: str, *lines: str, sinks: str = '["archive"]') -> str:
    return "\n".join(["[[routes]]", f'name = "{name}"', *lines, f"sinks = {sinks}", "", ""])


# The tree.


def test_the_tree_shows_every_route_in_the_order_of_the_files_with_its_file_and_line(rules: Rules) -> None:
    rules.write(
        route("verdicts", 'match = { milestone = "counterfeit" }') + route("rest", "fallback = true"),
        b_eu=route("EU", 'match = { reference_id = { suffix = "-EU" } }'),
        a_jp="# 日本\n" + route("日本の店", 'match = { reference_id = { prefix = "バッグ-" } }'),
    )
    head, *lines, end = gateway("route", "counterfeit", cwd=rules.folder).out.splitlines()
    assert head == "state_change  milestone counterfeit  source legitmark"
    assert lines == [
        "├── + verdicts  gateway.toml:10       -> archive",
        '├── - rest      gateway.toml:15       fallback: "verdicts" matched  gateway.toml:17:1',
        '├── - 日本の店  routes.d/a_jp.toml:2  reference_id: expected {"prefix": "バッグ-"}, is "ITEM-1042"'
        "  routes.d/a_jp.toml:4:11",
        '└── - EU        routes.d/b_eu.toml:1  reference_id: expected {"suffix": "-EU"}, is "ITEM-1042"  routes.d/b_eu.toml:3:11',
    ]
    assert end == "-> archive"


def test_the_columns_of_the_tree_are_aligned_by_display_width(rules: Rules) -> None:
    rules.write(route("偽造品の判定", 'match = { milestone = "draft" }') + route("a", 'match = { milestone = "draft" }'))
    _, first, second, _ = gateway("route", "counterfeit", cwd=rules.folder).out.splitlines()
    assert cell_len(first[: first.index("gateway.toml")]) == cell_len(second[: second.index("gateway.toml")])
    assert cell_len(first[: first.index("milestone:")]) == cell_len(second[: second.index("milestone:")])


def test_an_absent_field_is_called_absent(rules: Rules) -> None:
    rules.write(route("priced", "match = { item = { price = { gte = 1000 } } }"))
    assert 'item.price: expected {"gte": 1000}, is absent' in gateway("route", "counterfeit", cwd=rules.folder).out
    assert rules.failed("priced")["actual"] is None


def test_a_long_value_is_cut_for_people_and_complete_for_programs(rules: Rules) -> None:
    rules.write(route("bags", 'match = { reference_id = { prefix = "BAG-" } }'))
    (rules.folder / "long.json").write_text(f'{{"reference_id": "{"x" * 5000}"}}')
    assert max(len(line) for line in gateway("route", "long.json", cwd=rules.folder).out.splitlines()) < 600
    assert rules.failed("bags", "long.json")["actual"] == "x" * 5000


def test_a_file_elsewhere_is_named_in_full(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> None:
    rules.write(route("all"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    out = gateway("route", "counterfeit", "--config", rules.folder / "gateway.toml", cwd=elsewhere).out
    assert f"+ all  {rules.folder}/gateway.toml:10  -> archive" in out


# Where a condition is written.


@pytest.mark.parametrize(
    ("written", "path", "meant"),
    [
        ('match = { milestone = "authentic" }', "milestone", 'milestone = "authentic" }'),
        ('match = { "備考" = "偽造", milestone = "authentic" }', "備考", '"備考" = "偽造", milestone = "authentic" }'),
        ('match = { event_type = "state_change", milestone = ["draft"] }', "milestone", 'milestone = ["draft"] }'),
        (
            'match = { state = { primary = "COMPLETE", supplement = "APPROVED" } }',
            "state.supplement",
            'supplement = "APPROVED" } }',
        ),
        ('match = { "state.primary" = "QC" }', "state.primary", '"state.primary" = "QC" }'),
        ('match = { state.primary = "QC" }', "state.primary", 'primary = "QC" }'),
        ('match.milestone = "draft"', "milestone", 'milestone = "draft"'),
        ('match = [{ milestone = "draft" }]', "milestone", 'milestone = "draft" }]'),
        ('match = { "sides.side" = "Front" }', "sides.side", '"sides.side" = "Front" }'),
    ],
)
def test_the_condition_that_failed_is_pointed_at(written: str, path: str, meant: str, rules: Rules) -> None:
    rules.write("# 判定のルール。まず確認\n" + route("the one", written))
    assert rules.failed("the one")["path"] == path
    assert rules.meant("the one") == meant


def test_it_is_found_in_a_table_of_its_own_and_in_a_list_of_them(rules: Rules) -> None:
    rules.write(
        '[[routes]]\nname = "a"\nsinks = ["archive"]\n[routes.match]\nmilestone = "draft"\n'
        '[[routes]]\nname = "b"\nsinks = ["archive"]\n[[routes.match]]\nmilestone = "queued"\n'
        '[[routes.match]]\nevent_type = "state_change"\nstate = { primary = "QC" }\n'
    )
    assert rules.meant("a") == 'milestone = "draft"'
    assert rules.meant("b") == 'primary = "QC" }', "the second pattern comes nearer: one of its conditions holds"


def test_an_array_without_a_matching_element_is_pointed_at_as_a_whole(rules: Rules) -> None:
    rules.write(route("blurry", 'match = { "sides.reason" = "BLURRY" }') + route("back", 'match = { sides = { side = "Back" } }'))
    for name, meant in (("blurry", '"sides.reason" = "BLURRY" }'), ("back", 'sides = { side = "Back" } }')):
        failed = rules.failed(name, "needs_resubmission_ja")
        assert failed["path"] == "sides"
        assert failed["actual"][0]["reason"] == "ピントが合っていません"
        assert rules.meant(name, "needs_resubmission_ja") == meant


def test_the_nearest_of_several_patterns_is_shown_or_the_first_of_equally_near_ones(rules: Rules) -> None:
    near = (
        'match = [{ milestone = "draft" }, { event_type = "state_change", state = { primary = "COMPLETE", supplement = "x" } }]'
    )
    rules.write(route("near", near) + route("same", 'match = [{ milestone = "draft" }, { milestone = "queued" }]'))
    assert (rules.failed("near")["path"], rules.failed("near")["expected"]) == ("state.supplement", "x")
    assert rules.failed("same")["expected"] == "draft"
    assert rules.meant("same").startswith('milestone = "draft" }, {')


def test_unless_shows_the_pattern_that_matched(rules: Rules) -> None:
    rules.write(
        route("one", 'unless = { reference_id = { prefix = "ITEM" } }')
        + route("two", 'unless = [{ milestone = "draft" }, { milestone = ["偽", "counterfeit"] }]')
    )
    out = gateway("route", "counterfeit", cwd=rules.folder).out
    assert 'unless: {"reference_id": {"prefix": "ITEM"}} matches: reference_id is "ITEM-1042"  gateway.toml:12:10' in out
    assert 'unless: {"milestone": ["偽", "counterfeit"]} matches: milestone is "counterfeit"' in out
    assert rules.meant("one").startswith("{ reference_id = ")
    assert rules.meant("two") == '{ milestone = ["偽", "counterfeit"] }]'
    failed = rules.failed("two")
    assert (failed["path"], failed["actual"]) == ("unless", {"milestone": "counterfeit"})


def test_source_shows_the_wanted_and_the_given_one(rules: Rules) -> None:
    rules.write(route("own", 'source = "gateway"'))
    failed = rules.failed("own")
    assert (failed["path"], failed["expected"], failed["actual"]) == ("source", ["gateway"], "legitmark")
    assert rules.meant("own") == 'source = "gateway"'


def test_a_final_route_that_stopped_this_one_is_named_and_pointed_at_in_its_own_file(rules: Rules) -> None:
    rules.write(route("一", 'match = { milestone = "draft" }', "final = true") + route("二", "final = true"), later=route("late"))
    out = gateway("route", "counterfeit", cwd=rules.folder).out
    assert 'final: "二" before it is final, and matched  gateway.toml:18:1' in out
    failed = rules.failed("late")
    assert (failed["path"], failed["actual"], failed["file"]) == ("final", "二", str(rules.folder / "gateway.toml"))
    assert rules.meant("late") == "final = true"


def test_a_fallback_names_the_route_that_matched(rules: Rules) -> None:
    rules.write(route("rest", "fallback = true") + route("all"))
    failed = rules.failed("rest")
    assert (failed["path"], failed["actual"]) == ("fallback", "all")
    assert rules.meant("rest") == "fallback = true"


def test_a_field_that_is_named_like_a_key_of_a_route_is_a_field(rules: Rules) -> None:
    rules.write(route("odd", "match = { final = true, fallback = 1 }") + route("more", 'match = { "unless" = "x" }'))
    assert rules.meant("odd") == "final = true, fallback = 1 }"
    assert rules.meant("more") == '"unless" = "x" }'
    assert "final: expected true, is absent" in gateway("route", "counterfeit", cwd=rules.folder).out


# Colour.


def test_it_is_coloured_on_a_terminal_but_not_with_no_color_nor_in_a_pipe(folder: Path) -> None:
    assert GREEN in shown("route", "counterfeit", cwd=folder)
    assert "\x1b" not in shown("route", "counterfeit", cwd=folder, variables={"NO_COLOR": "1"})
    assert "\x1b" not in gateway("route", "counterfeit", cwd=folder).out


def test_only_the_colour_differs_between_a_terminal_and_a_pipe(folder: Path) -> None:
    on_a_terminal = shown("route", "counterfeit", cwd=folder, variables={"NO_COLOR": "1"}).replace("\r\n", "\n")
    assert on_a_terminal == gateway("route", "counterfeit", cwd=folder).out
