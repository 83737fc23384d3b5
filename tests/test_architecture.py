"""The layers of the house as data: who may import whom, and the few places of time, randomness, environment and tasks."""

from __future__ import annotations

import ast
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: list[tuple[str, ...]] = [
    ("gateway",),
    ("gateway.core.errors", "gateway.core.values", "gateway.core.outcome"),
    ("gateway.core",),
    ("gateway.clock",),
    ("gateway.addresses", "gateway.certificates", "gateway.files", "gateway.outlet"),
    ("gateway.descriptors", "gateway.exposition", "gateway.signals", "gateway.systemd", "gateway.threads"),
    ("gateway.telemetry", "gateway.metrics"),
    ("gateway.store",),
    ("gateway.sinks",),
    ("gateway.engine",),
    ("gateway.config",),
    ("gateway.web",),
    ("gateway.lanes", "gateway.listeners", "gateway.reload", "gateway.source_rules"),
    ("gateway.app",),
    ("gateway.cli",),
    ("gateway.__main__",),
]
"""Top to bottom: a module imports from rows above its own, or from its own folder."""

OWN_ROW = {"gateway.core.errors": set[str](), "gateway.core.values": set[str](), "gateway.core.outcome": set[str]()}
"""Modules of a row that may import nothing of it."""

BEHIND: dict[str, set[str]] = {
    "gateway.store": {"gateway.cli.db"},
    "gateway.engine": set(),
    "gateway.web": set(),
    "gateway.app": {"gateway.cli.serve"},
}
"""Rooms of the running gateway, and the commands that may enter them: `serve` is that process. Every other command asks it
through the admin listener, and never opens its database behind its back. `db` looks at backups, which are nobody's, and where
no gateway runs, it takes the place of one: it holds the database's lock, and reads."""

LARGEST = 400
"""Lines. A file beyond that is a room to rebuild."""

TOP_LEVEL = {
    *("gateway", "config", "tests", "systemd", "docs"),
    *("pyproject.toml", "README.md", "gateway.toml.example", "Makefile", "constraints.txt", "CHANGELOG.md", "CONTRIBUTING.md"),
}
"""Everything that may lie at the top of the repository, beside names that begin with a dot."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "gateway").rglob("*.py"))
}


def row_of(module: str) -> int:
    """The row with the longest name that is the module's own or its folder's."""
    rows = [
        (len(name), number)
        for number, names in enumerate(LAYERS)
        for name in names
        if module == name or (module.startswith(f"{name}.") and name != "gateway")
    ]
    assert rows, f"{module} has no place in the house: give it a row"
    return max(rows)[1]


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative imports hide the layer"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def reachable_from(module: str) -> dict[str, list[str]]:
    """Every module of ours that an import of this one may bring in, each with a shortest way to it."""
    ways = {module: [module]}
    waiting = deque([module])
    while waiting:
        here = waiting.popleft()
        for imported in imports_of(MODULES[here]):
            if imported in MODULES and imported not in ways:
                ways[imported] = [*ways[here], imported]
                waiting.append(imported)
    return ways


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_the_rows_above_its_own(module: str) -> None:
    for imported in imports_of(MODULES[module]):
        if imported.split(".")[0] != "gateway" or imported == "gateway":
            continue
        if row_of(imported) == row_of(module):
            allowed = OWN_ROW.get(module)
            assert allowed is None or imported in allowed, f"{module} imports {imported}, its neighbour"
        else:
            assert row_of(imported) < row_of(module), f"{module} imports {imported}, which stands below it"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway.cli")])
def test_a_command_does_not_enter_the_running_gateway_from_behind(module: str) -> None:
    for reached, way in reachable_from(module).items():
        for room, allowed in BEHIND.items():
            inside = reached == room or reached.startswith(f"{room}.")
            assert not inside or module in allowed or "gateway.app" in way[:-1], f"{' -> '.join(way)}: ask the admin listener"


def test_the_commands_that_may_enter_are_there_and_do() -> None:
    for room, allowed in BEHIND.items():
        assert room in MODULES
        for module in allowed:
            assert any(f"{reached}.".startswith(f"{room}.") for reached in reachable_from(module)), f"{module} need not be named"


@pytest.mark.parametrize("module", MODULES)
def test_time_and_randomness_come_from_the_clock_alone(module: str) -> None:
    if module != "gateway.clock":
        assert not {"time", "random"} & set(imports_of(MODULES[module])), f"{module}: ask the clock"


@pytest.mark.parametrize("module", MODULES)
def test_signals_are_listened_to_in_one_place(module: str) -> None:
    if module != "gateway.signals":
        assert "signal" not in set(imports_of(MODULES[module])), f"{module}: see gateway/signals.py"


@pytest.mark.parametrize("module", MODULES)
def test_the_environment_is_read_in_one_place(module: str) -> None:
    names = {node.attr for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Attribute)}
    if module != "gateway.core.values":
        assert not {"environ", "getenv", "environb"} & names, f"{module}: take the Environment that is passed on"


@pytest.mark.parametrize("module", MODULES)
def test_tasks_are_made_where_they_have_an_owner(module: str) -> None:
    names = {node.attr for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Attribute)}
    if module not in ("gateway.app", "gateway.engine.lane", "gateway.web.accepting"):
        assert "create_task" not in names, f"{module}: tasks belong to app and lane, and to the handshakes"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("gateway.core")])
def test_the_core_is_pure(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert not any(isinstance(node, (ast.AsyncFunctionDef, ast.Await)) for node in ast.walk(tree)), f"{module} is async"
    assert not {"asyncio", "socket", "sqlite3", "aiohttp"} & set(imports_of(MODULES[module])), f"{module} does I/O"


@pytest.mark.parametrize("module", MODULES)
def test_sql_stands_in_the_store_alone(module: str) -> None:
    if not module.startswith("gateway.store"):
        assert not {"sqlite3", "aiosqlite"} & set(imports_of(MODULES[module]))


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_a_room_that_can_be_overlooked(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= LARGEST, f"{module} has {lines} lines: rebuild the room"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_owns(module: str) -> None:
    if module not in ("gateway.__main__",):
        assert ast.get_docstring(ast.parse(MODULES[module].read_text())), f"{module} has no docstring"


def test_nothing_lies_at_the_top_level_that_does_not_belong_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: what belongs to the project is not known")
    names = {file.split("/")[0] for file in listed.stdout.decode().split("\0") if file}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL
