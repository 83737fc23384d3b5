"""Rules for the tests themselves: they import no other test module, and touch private attributes only where nothing else shows
what they check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "tests").rglob("*.py"))}

PRIVATE = {
    "tests/benchmarks/holds.py": {"_SLICE": "it measures the slices that the gateway takes, whatever their size is"},
    "tests/benchmarks/purging_gateway.py": {
        "_PURGE_AFTER": "a purge begins ten minutes after a start, and a benchmark has ten in all"
    },
    "tests/benchmarks/sampled_gateway.py": {"_current_frames": "it is documented, and no other function shows where threads are"},
    "tests/config/test_messages.py": {"_alike": "it says which part of a sink differs; lanes act on it, but show only the whole"},
    "tests/engine/test_server.py": {
        "_lingering_time": "aiohttp shows this bound of a connection nowhere else, and drops misspelt options without a word",
        "_parser": "aiohttp shows nowhere else which parser a connection has",
        "_kwargs": "the real wait is 15 s; only the options that aiohttp keeps for new connections shorten it",
    },
    "tests/engine/test_two_ways.py": {
        "_kwargs": "the real wait is 15 s; only the options that aiohttp keeps for new connections shorten it"
    },
    "tests/engine/test_watchdog.py": {"_execute": "the thread must get work that the gateway did not give it"},
    "tests/leaks/inside/recorder.py": dict.fromkeys(
        ("_secret_path", "_tell", "_write_some", "_Lossy"),
        "the recorder stands where the bytes leave the process, below every public function",
    ),
    "tests/leaks/plugin.py": {"_tmp_path_factory": "pytest has no public way to the folder of all temporary files"},
    "tests/leaks/search.py": {"_Regexp": "google-re2 gives its type no public name"},
    "tests/sinks/mail_server.py": {"_handler_coroutine": "aiosmtpd has no public way to end a session"},
    "tests/sinks/test_dial.py": {
        "_Race": "the cancellation has to fall between the end of a race and its result",
        "_ended": "the cancellation has to fall between the end of a race and its result",
    },
    "tests/sinks/test_template_bounds.py": {"_environments": "no template text makes the engine itself fail"},
    "tests/unit/test_routing.py": dict.fromkeys(
        ("_given", "_known", "_for_kind"), "how much a router remembers is a bound of memory, which no decision shows"
    ),
}
"""The private attributes that a file may touch, each with the reason why no public one would do."""


def private_attributes(path: Path) -> Iterator[str]:
    """The private attributes of other objects that a file names: those of `self`, `cls` and `super()` are its own.

    `os._exit` and `sys._getframe` are documented functions.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if ast.unparse(node) in ("os._exit", "sys._getframe"):
                continue
            owner = node.value.func if isinstance(node.value, ast.Call) else node.value
            if not (isinstance(owner, ast.Name) and owner.id in ("self", "cls", "super")):
                yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("getattr", "setattr", "delattr"):
            named = [str(argument.value).rpartition(".")[2] for argument in node.args if isinstance(argument, ast.Constant)]
            yield from (word for word in named if word.startswith("_") and not word.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway"):
            yield from (alias.name for alias in node.names if alias.name.startswith("_") and not alias.name.startswith("__"))


@pytest.mark.parametrize("name", FILES)
def test_no_test_imports_another_test_module(name: str) -> None:
    """A helper that two tests share lies in a helper module: see tests/support."""
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{name}: relative imports hide what is imported"
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            found = ROOT.joinpath(*module.split(".")).with_suffix(".py")
            is_test = module.startswith("tests.") and found.name.startswith("test_") and found.exists()
            assert not is_test, f"{name} imports {module}"


@pytest.mark.parametrize("name", FILES)
def test_a_private_attribute_is_touched_only_for_a_reason(name: str) -> None:
    assert set(private_attributes(FILES[name])) == PRIVATE.get(name, {}).keys()


def test_the_exceptions_name_files_that_exist() -> None:
    assert PRIVATE.keys() <= FILES.keys()
