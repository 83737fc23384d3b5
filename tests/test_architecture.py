"""The rules of the house: which folder imports which, and the few places of time, randomness, environment and tasks."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import deque
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gateway.cli.commands import COMMANDS
from tests.support.house import HOUSE

ROOT = Path(__file__).parent.parent

BEHIND: dict[str, set[str]] = {
    "gateway.store": {"gateway.cli.check", "gateway.cli.db"},
    "gateway.ingest": set(),
    "gateway.delivery": set(),
    "gateway.maintenance": set(),
    "gateway.control": set(),
    "gateway.web": set(),
    "gateway.app": {"gateway.cli.serve", "gateway.cli.play"},
}
"""Rooms of the running gateway, and the commands that may enter them: `serve` is that process. Every other command asks it
through the admin listener, and never opens its database. `db` reads backups, which no process has open. If no gateway runs, it
takes the place of one: it holds the lock of the database, and reads. `check --probe` connects to the PostgreSQL that a
configuration names as a start does, and reads nothing of the gateway. `play` listens by itself, and has no database."""

LARGEST = 400
"""Lines. A file beyond that is a room to rebuild."""

TOP_LEVEL = {
    *(".ci", ".gitattributes", ".gitignore"),
    *("gateway", "config", "tests", "systemd", "docs"),
    *("pyproject.toml", "README.md", "gateway.toml.example", "Makefile", "constraints.txt", "CHANGELOG.md", "CONTRIBUTING.md"),
}
"""Everything that may be at the top of the repository."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "gateway").rglob("*.py"))
}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def folder_of(module: str) -> str | None:
    """The folder of the house that a module lies in; None for `gateway` and `gateway.__main__`, which lie in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{module}: relative imports hide the layer"
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in MODULES else node.module for name in inner}
    return frozenset(found)


def names_in(module: str) -> set[str]:
    """Every attribute that a file names, and every name that it imports from another file."""
    return {
        name
        for node in ast.walk(tree_of(module))
        for name in (
            [node.attr]
            if isinstance(node, ast.Attribute)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


def reachable_from(module: str) -> dict[str, list[str]]:
    """Every module of ours that an import of this one may bring in, each with a shortest way to it."""
    ways = {module: [module]}
    waiting = deque([module])
    while waiting:
        here = waiting.popleft()
        for imported in imports_of(here):
            if imported in MODULES and imported not in ways:
                ways[imported] = [*ways[here], imported]
                waiting.append(imported)
    return ways


def test_every_folder_has_a_place_in_the_house() -> None:
    assert {folder_of(module) for module in MODULES} == {None, *HOUSE}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_folders_that_its_own_may_use(module: str) -> None:
    folder = folder_of(module)
    for imported in imports_of(module):
        if folder is None or imported not in MODULES or (target := folder_of(imported)) is None:
            continue
        assert target == folder or target in HOUSE[folder], f"{module} imports {imported}: {folder} may not use {target}"


def test_no_files_import_each_other_in_a_circle() -> None:
    imports = {module: {name for name in imports_of(module) if name in MODULES} - {module} for module in MODULES}
    try:
        list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"these files import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway.cli")])
def test_a_command_does_not_enter_the_running_gateway_from_behind(module: str) -> None:
    for reached, way in reachable_from(module).items():
        for room, allowed in BEHIND.items():
            inside = reached == room or reached.startswith(f"{room}.")
            assert not inside or module in allowed or any(folder_of(passed) == "app" for passed in way[:-1]), (
                f"{' -> '.join(way)}: ask the admin listener"
            )


def test_the_commands_that_may_enter_are_there_and_do() -> None:
    for room, allowed in BEHIND.items():
        assert room in MODULES
        for module in allowed:
            assert any(f"{reached}.".startswith(f"{room}.") for reached in reachable_from(module)), f"{module} need not be named"


@pytest.mark.parametrize("module", MODULES)
def test_time_and_randomness_come_from_the_clock_alone(module: str) -> None:
    if module != "gateway.host.clock":
        assert not {"time", "random"} & imports_of(module), f"{module}: ask the clock"
        assert not {"utcnow", "today", "uuid1", "uuid4", "urandom"} & names_in(module), f"{module}: ask the clock"
        calls = [node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
        assert not {"datetime.now", "datetime.datetime.now"} & set(map(ast.unparse, calls)), f"{module}: ask the clock"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_imported_by_a_statement_that_these_tests_can_read(module: str) -> None:
    assert "import_module" not in names_in(module), f"{module}: write an import statement"
    assert "__import__" not in MODULES[module].read_text(encoding="utf-8"), f"{module}: write an import statement"


@pytest.mark.parametrize("module", MODULES)
def test_signals_are_listened_to_in_one_place(module: str) -> None:
    if module != "gateway.host.signals":
        assert "signal" not in imports_of(module), f"{module}: see gateway/host/signals.py"


@pytest.mark.parametrize("module", MODULES)
def test_the_environment_is_read_in_one_place(module: str) -> None:
    if module != "gateway.host.environment":
        assert not {"environ", "getenv", "environb"} & names_in(module), f"{module}: take the Environment that is passed on"


@pytest.mark.parametrize("module", MODULES)
def test_tasks_are_made_where_they_have_an_owner(module: str) -> None:
    owners = {"gateway.app.lifecycle", "gateway.app.receiving", "gateway.delivery.lanes", "gateway.delivery.lane"}
    if module not in owners | {"gateway.web.server.accepting", "gateway.store.postgres.upkeep"}:
        assert not {"create_task", "ensure_future"} & names_in(module), (
            f"{module}: tasks belong to app, to the lanes, to the handshakes, and to work of minutes that its caller ends"
        )


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway.app")])
def test_the_composition_builds_parts_whole_and_sets_nothing_on_them_later(module: str) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            assert ast.unparse(node.value) == "self", (
                f"{module}:{node.lineno} sets {ast.unparse(node)}: give it to the constructor"
            )
        assert not isinstance(node, ast.Name) or node.id != "setattr", f"{module}:{node.lineno}: give it to the constructor"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway.core")])
def test_the_core_is_pure(module: str) -> None:
    tree = tree_of(module)
    assert not any(isinstance(node, (ast.AsyncFunctionDef, ast.Await)) for node in ast.walk(tree)), f"{module} is async"
    assert not {"asyncio", "socket", "sqlite3", "aiohttp"} & imports_of(module), f"{module} does I/O"


ENGINES = ("gateway.store.sqlite", "gateway.store.postgres")
"""The folders of the engines that stand behind the verbs of the store."""
STORE = [module for module in MODULES if module.startswith("gateway.store.") and not module.startswith(ENGINES)]


@pytest.mark.parametrize("module", MODULES)
def test_only_the_opening_of_the_store_knows_which_engine_it_has(module: str) -> None:
    if not module.startswith(ENGINES) and module != "gateway.store.opening":
        behind = [name for name in imports_of(module) if name.startswith(ENGINES)]
        assert behind == [], f"{module}: use the verbs of gateway.store.base"


@pytest.mark.parametrize("module", MODULES)
def test_sql_stands_in_the_engine_alone(module: str) -> None:
    if not module.startswith(ENGINES):
        assert not {"sqlite3", "aiosqlite", "asyncpg"} & imports_of(module), f"{module}: use the verbs of gateway.store.base"


@pytest.mark.parametrize("module", STORE)
def test_no_verb_of_the_store_takes_or_returns_a_connection(module: str) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            signature = ast.unparse(node.args) + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
            assert not re.search(r"connection|cursor|sqlite", signature, re.IGNORECASE), f"{module}.{node.name}({signature})"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_reads_state_back_out_of_the_metrics(module: str) -> None:
    if module != "gateway.observability.metrics":
        assert not {"registry", "restricted_registry", "get_sample_value"} & names_in(module), (
            f"{module}: ask the part that owns the number, or Metrics.totals"
        )


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_a_room_that_can_be_overlooked(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= LARGEST, f"{module} has {lines} lines: rebuild the room"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_owns(module: str) -> None:
    if module not in ("gateway.__main__",):
        assert ast.get_docstring(tree_of(module)), f"{module} has no docstring"


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES.values()} - {ROOT / "gateway"}), ids=lambda path: path.name
)
def test_the_docstring_of_a_folder_names_each_of_its_modules(folder: Path) -> None:
    init = folder / "__init__.py"
    told = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    if folder.name == "cli":
        told += " ".join(module for _, module, _ in COMMANDS) + " db"
    elif f'tag="{folder.name}"' in "".join(path.read_text(encoding="utf-8") for path in folder.glob("config.py")):
        told += " config sink check probe preview"  # each sink type has these: see CONTRIBUTING.md
    unnamed = {path.stem for path in folder.glob("*.py")} - {"__init__"} - set(re.findall(r"\w+", told))
    assert unnamed == set(), f"{init}: say what these are for"


def test_nothing_lies_at_the_top_level_that_does_not_belong_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: what belongs to the project is not known")
    names = {file.split("/")[0] for file in listed.stdout.decode().split("\0") if file}
    assert names <= TOP_LEVEL
