"""One word per thing: a module's name is its own, and lists that many files need are spelt out in one of them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gateway.core.outcome import OutcomeName
from gateway.core.selection import DELIVERY_STATES, MESSAGE_STATUSES

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "gateway").rglob("*.py"))

ROLES = {"__init__", "__main__", "base", "sink", "config", "check", "probe", "preview", "answers"}
"""Names of a role: every sink type has a `sink` and a `check`; `store` and `sinks` both have a `base`."""

ENGINES = {"store/sqlite", "store/postgres"}
"""Both engines of the store: a module of one may be named after its counterpart in the other one."""

LISTS = {
    "delivery states": (DELIVERY_STATES, "core/selection.py"),
    "message statuses": (MESSAGE_STATUSES, "core/selection.py"),
    "outcomes": (get_args(OutcomeName), "core/outcome.py"),
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in FILES:
        yield path.relative_to(ROOT / "gateway").as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_no_two_modules_have_the_same_name() -> None:
    folders = defaultdict(set)
    for path in FILES:
        folders[path.stem].add(path.parent.relative_to(ROOT / "gateway").as_posix())
    for stem, found in folders.items():
        others = found - {"cli"}  # a command's file may be named after the thing that it asks for
        if found >= ENGINES:
            others -= {"store/postgres"}
        if stem not in ROLES and len(others) > 1:
            pytest.fail(f"{stem} is the name of {len(found)} modules: {sorted(found)}")


def test_no_two_modules_define_a_public_class_of_the_same_name() -> None:
    homes = defaultdict(list)
    for file, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_words_is_spelt_out_in_one_file(name: str) -> None:
    listed, home = LISTS[name]
    found = {
        file
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Tuple, ast.List, ast.Set))
        and set(listed) <= {item.value for item in node.elts if isinstance(item, ast.Constant)}
    }
    assert found == {home}


def test_the_id_of_a_delivery_is_put_together_in_one_place() -> None:
    def is_put_together(node: ast.AST) -> bool:
        parts = [
            ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else part.value
            for part in getattr(node, "values", ())
            if isinstance(part, (ast.FormattedValue, ast.Constant))
        ]
        return isinstance(node, ast.JoinedStr) and len(parts) == 3 and parts[1] == "-" and "sink" in str(parts[2])

    assert {file for file, tree in trees() for node in ast.walk(tree) if is_put_together(node)} == {"core/records.py"}


def test_the_schema_of_the_store_has_the_words_of_the_core() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "gateway/store/sqlite/schema").glob("*.sql")))
    checks = [set(re.findall(r"'(\w+)'", listed)) for listed in re.findall(r"CHECK \(\w+ IN \(([^)]*)\)\)", text)]
    assert all(set(listed) in checks for listed, _ in LISTS.values())
