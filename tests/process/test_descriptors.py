"""The limit of open file descriptors: a start raises it to the hard limit at most, and warns if that is too low."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from gateway.host.descriptors import NEEDED
from tests.support.gateway_process import Running

_LIMITED = """
import os, resource, sys
soft, hard, *command = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
os.execv(command[0], command)
"""

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Limited(Running):
    """A gateway that is started under limits, as by a shell or a container."""

    def __init__(self, folder: Path, soft: int, hard: int) -> None:
        super().__init__(folder, "")
        self.limits = str(soft), str(hard)

    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", _LIMITED, *self.limits, *super().command()]


def warnings(running: Running) -> list[dict[str, object]]:
    return [json.loads(line) for line in running.stderr().splitlines() if "gateway.few_descriptors" in line]


@pytest.mark.skipif(-1 < hard < NEEDED, reason=f"the hard limit here is {hard}")
def test_a_start_raises_a_low_limit_of_descriptors_and_keeps_a_high_one(tmp_path: Path) -> None:
    for soft, most, expected in ((1024, NEEDED + 8, NEEDED), (NEEDED + 4, NEEDED + 8, NEEDED + 4), (1024, NEEDED, NEEDED)):
        with Limited(tmp_path, soft, most) as running:
            assert running.process is not None
            assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (expected, most)
            assert not warnings(running)


def test_a_start_raises_the_limit_to_the_hard_limit_and_warns_if_that_is_too_low(tmp_path: Path) -> None:
    with Limited(tmp_path, 512, 1024) as running:
        assert running.process is not None
        assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (1024, 1024)
        (said,) = warnings(running)
        assert (said["level"], said["limit"], said["needed"]) == ("warning", 1024, NEEDED)
