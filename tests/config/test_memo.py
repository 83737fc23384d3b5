"""A load with a memo gives the same result as one without, and repeats only the work on changes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, incremental, load
from gateway.config.diff import differences
from gateway.config.memo import Memo
from gateway.core.errors import ConfigError
from gateway.host.environment import Environment
from tests.config.large_file import large_file
from tests.support.webhooks import SECRET

ENVIRONMENT = Environment({"LEGITMARK": SECRET})

# --- TOML, piece by piece

LINES = st.sampled_from(
    [
        *(
            "[a]",
            "[b]",
            "[a.x]",
            "[a.y]",
            "[b.x]",
            "[a.x.y]",
            "[[l]]",
            "[[l]] # more",
            "[l.x]",
            "[[l.y]]",
            "[[a]]",
            '["a"]',
            "[ b ]",
        ),
        *(
            "k = 1",
            "k = 1.0",
            "k = true",
            "a = {}",
            "a.x.k = 1",
            "l = []",
            "x = 2020-01-01",
            "e = [[1], [2]]",
            "# a",
            "",
            "[",
            "é = 1",
        ),
        *(
            'k = """',
            '"""',
            "k = '''",
            "'''",
            "k = [",
            "]",
            "1,",
            '"a" = 1',
            "k = { x = 1 }",
            "m = 1\r",
            "s = '[a]'",
            "[a.x] # é",
        ),
    ]
)
TEXTS = st.lists(LINES, max_size=12).map("\n".join)


def outcome(text: str, memo: Memo | None) -> tuple[str, Any]:
    try:
        return "read", repr(tomllib.loads(text) if memo is None else incremental.parse(text, memo))
    except tomllib.TOMLDecodeError as error:
        return "refused", str(error)


@given(TEXTS, TEXTS)
def test_parsing_in_pieces_gives_the_same_result_or_error_as_parsing_the_whole(one: str, two: str) -> None:
    memo = Memo()
    for text in (one, two, one):
        assert outcome(text, memo) == outcome(text, None)
        memo = Memo(memo)


def test_an_unchanged_table_is_the_same_object() -> None:
    memo = Memo()
    before = incremental.parse(large_file(3), memo)
    after = incremental.parse(large_file(3).replace("127.0.0.1:9/1", "127.0.0.1:9/new"), Memo(memo))
    assert [after["sinks"][name] is table for name, table in before["sinks"].items()] == [True, True, False, True, True, True]
    assert all(one is other for one, other in zip(before["routes"], after["routes"], strict=True))


# --- whole configurations

EDITS = [
    ("timeout", 'url = "http://127.0.0.1:9/1"', 'url = "http://127.0.0.1:9/1"\ntimeout = "9s"'),
    ("a number that is another type", 'prefix = "1-"', "gt = 1"),
    ("and again", 'prefix = "1-"', "gt = 1.0"),
    ("a route less", '[[routes]]\nname = "route 0"', '[[tests]]\nname = "x"'),
    ("bad sink", 'path = "1.jsonl"', "path = 1"),
    ("bad route", '"j1"]\nfinal', '"j9"]\nfinal'),
    ("no TOML", "[sinks.h1]", "[sinks.h1"),
    ("two errors", 'url = "http://127.0.0.1:9/', 'concurrency = 0\nurl = "http://127.0.0.1:9/'),
    ("warnings", "reference_id", "refrence_id"),
    ("a pasted secret", 'path = "1.jsonl"', 'path = "whsec_fcGVB9Xq3mJ0yPZkT5uNwLs8aHdRo2Ei"'),
    ("a name twice", 'name = "route 1"', 'name = "route 0"'),
    ("a file twice", 'path = "1.jsonl"', 'path = "0.jsonl"'),
    ("mail, a default for it", "[sinks.j0]", "[defaults]\nlocale = 'ja'\n[sinks.j0]"),
    ("a comment", "[sinks.j1]", "# more\n\n[sinks.j1]"),
]


def said(file: Path, memo: Memo | None) -> tuple[str, ...] | Config:
    try:
        return load(file, ENVIRONMENT, now=0.0, memo=memo)
    except ConfigError as error:
        return tuple(str(problem) for problem in error.problems)


@given(st.lists(st.sets(st.sampled_from(EDITS), max_size=3), min_size=1, max_size=5))
def test_a_load_with_a_memo_gives_the_same_result_as_one_without(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    file = tmp_path_factory.getbasetemp() / "gateway.toml"
    memo = Memo()
    for edits in steps:
        text = large_file(3)
        for _, before, after in sorted(edits):
            text = text.replace(before, after)
        file.write_text(text)
        used = Memo(memo)
        remembered, anew = said(file, used), said(file, None)
        if isinstance(remembered, Config):
            memo = used
            assert isinstance(anew, Config)
            assert differences(remembered, anew) == []
            assert remembered.warnings == anew.warnings and remembered.notes == anew.notes and remembered.tests == anew.tests
            assert list(remembered.sinks.items()) == list(anew.sinks.items()) and remembered.sha256 == anew.sha256
        else:
            assert remembered == anew


def test_unchanged_tables_are_reused_but_files_are_read_again(tmp_path: Path) -> None:
    file, template = tmp_path / "gateway.toml", tmp_path / "t.jinja"
    sink = '[sinks.chat]\ntype = "slack"\nwebhook_url = { file = "url" }\ntemplate = "t.jinja"\n'
    (tmp_path / "url").write_text("https://hooks.example.com/T0/B0/hook-5Wd3")
    template.write_text("{% block text %}{{ item }}{% endblock %}")
    file.write_text(large_file(2) + sink)
    memo = Memo()
    one = load(file, ENVIRONMENT, memo=memo)
    two = load(file, ENVIRONMENT, memo=Memo(memo))
    assert all(two.sinks[name] is settings for name, settings in one.sinks.items())
    assert [rule.route for rule in two.rules] == [rule.route for rule in one.rules]
    assert all(rule is other for rule, other in zip(one.rules, two.rules, strict=True))
    (tmp_path / "url").write_text("https://hooks.example.com/T0/B0/hook-8Rm1")
    template.write_text("{% block text %}{{ nothing }}{% endblock %}")
    with pytest.raises(ConfigError, match="nothing"):
        load(file, ENVIRONMENT, memo=Memo(memo))
    template.write_text("{% block text %}{{ item }}!{% endblock %}")
    found = [str(change) for change in differences(one, load(file, ENVIRONMENT, memo=Memo(memo)))]
    assert len(found) == 2 and all("[sinks.chat]" in change for change in found), found
