"""Gives files that share something costly to the same worker of pytest-xdist."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TOGETHER = (
    ("tests/browser/test_matrix",),
    ("tests/browser/test_hostile", "tests/browser/test_live", "tests/browser/test_fixtures"),
    ("tests/browser",),
)
"""The beginnings of the paths of such files. Those of the browser share a Chromium and a gateway with a long story."""


class GroupedScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no type information
    """Gives all tests of a file to one worker, and those of the files that are named together, too."""

    def _split_scope(self, nodeid: str) -> str:
        together = (group[0] for group in TOGETHER if nodeid.startswith(group))
        return next(together, str(super()._split_scope(nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupedScheduling | None:
    """Return the way in which `make test` hands out tests; None leaves others to pytest-xdist."""
    return GroupedScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
