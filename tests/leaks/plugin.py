"""Records what this process and all of its children write, and searches it for secrets when all tests are over.

A leak ends the run with the exit code LEAKED, even if every test passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.leaks.inside import recorder
from tests.leaks.search import Leak, search

LEAKED = 6
"""An exit code that pytest itself does not use."""
RECORDS = "GATEWAY_TESTS_RECORDS"
_INSIDE = str(Path(__file__).parent / "inside")
_FOLDER = pytest.StashKey[Path]()
_LEAKS = pytest.StashKey[list[Leak]]()
_logs: list[structlog.testing.CapturingLogger] = []
"""The logs that the running test has captured."""


def watched(environment: Mapping[str, str] | None) -> dict[str, str]:
    """The environment that a test gives to a child, with the recorder in it; None is that of this process. One that says itself
    that there are no records stays as it is."""
    given = dict(os.environ if environment is None else environment)
    if given.get(RECORDS) == "":
        return given
    path = [part for part in given.get("PYTHONPATH", "").split(":") if part not in ("", _INSIDE)]
    told = {name: os.environ[name] for name in (RECORDS, "PYTEST_CURRENT_TEST") if name in os.environ}
    return {**told, **given, "PYTHONPATH": ":".join([_INSIDE, *path])}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has it from the one process that does the search
        config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="gateway-tests-records-"))
        os.environ[RECORDS] = str(config.stash[_FOLDER])
    recorder.record(os.environ[RECORDS], whole_process=False)
    _watch_what_is_captured()
    if config.getoption("dist", "no") == "no":  # else all children are workers, who do this themselves
        _watch_children()


def _watch_children() -> None:
    start: Callable[..., None] = subprocess.Popen.__init__

    def started(self: object, *args: object, env: Mapping[str, str] | None = None, **options: object) -> None:
        start(self, *args, env=watched(env), **options)
        for stream in ("stdout", "stderr"):  # a test has opened it, but what is in it is of the child
            if isinstance(path := getattr(options.get(stream), "name", None), str):
                recorder.note("written", os.path.abspath(path), b"")

    subprocess.Popen.__init__ = started  # type: ignore[assignment]


def _watch_what_is_captured() -> None:
    build, read = structlog.testing.CapturingLogger.__init__, pytest.CaptureFixture.readouterr

    def built(self: structlog.testing.CapturingLogger) -> None:
        build(self)
        _logs.append(self)

    def captured(self: pytest.CaptureFixture[Any]) -> Any:
        out, err = result = read(self)
        recorder.said("captured stdout", out)
        recorder.said("captured stderr", err)
        return result

    structlog.testing.CapturingLogger.__init__ = built  # type: ignore[method-assign]
    pytest.CaptureFixture.readouterr = captured  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    yield
    for log in _logs:
        recorder.said("a log", repr(log.calls))
    _logs.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":  # the sections of all that came before are in it, too
        for name, text in report.sections:
            recorder.said(f"{name} of {report.nodeid}", text)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (folder := session.config.stash.get(_FOLDER, None)) is None:
        return
    try:
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # not public
        leaks = search(folder, factory.getbasetemp())
    finally:
        shutil.rmtree(folder)
    session.config.stash[_LEAKS] = leaks
    if leaks:
        session.exitstatus = LEAKED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    leaks = config.stash.get(_LEAKS, [])
    if leaks:
        terminalreporter.section("secrets that leaked", red=True)
        for leak in leaks:
            terminalreporter.write_line(f"LEAKED {leak}", red=True)
