"""The file of a `jsonl` sink is rotated a hundred times while the gateway writes it: every line is there exactly once.

A line may appear twice only if a write was cut (by its `timeout`, a stop or a kill) and tried again; none is cut here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.gateway_process import Running
from tests.support.waiting import until

ROTATIONS = 100
TOML = """
[sinks.archive]
type = "jsonl"
path = "events.jsonl"
fsync = "{fsync}"
concurrency = 8

[[routes]]
sinks = ["archive"]
"""


def rotate(path: Path, number: int) -> None:
    """Rotate as logrotate does with `create`: rename, then make the new file, which must not exist (createOutputFile, O_EXCL)."""
    path.rename(path.with_suffix(f".jsonl.{number}"))
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))


def numbers(folder: Path) -> list[int]:
    """The events in the file and in its renamed predecessors, whose lines must all be whole."""
    lines = [line for file in folder.glob("events.jsonl*") for line in file.read_bytes().splitlines(keepends=True)]
    assert all(line.endswith(b"}\n") for line in lines)
    return [json.loads(line)["body"]["n"] for line in lines]


@pytest.mark.parametrize("fsync", ["never", "batch", "always"])
async def test_a_hundred_rotations_under_load_neither_lose_nor_repeat_a_line(fsync: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sent: list[int] = []
    rotated = 0

    async def load(first: int) -> None:
        """Posts until the last rotation, each under a number of its own."""
        number = first
        while rotated < ROTATIONS:
            sent.append(number)
            assert (await gateway.post(b'{"n":%d}' % number)).status == 200
            number += 4

    with Running(tmp_path, TOML.format(fsync=fsync)) as gateway:
        async with asyncio.TaskGroup() as tasks:
            for first in range(4):
                tasks.create_task(load(first))
            for number in range(1, ROTATIONS + 1):
                await until(lambda: path.exists() and path.stat().st_size > 0)
                rotate(path, number)
                rotated = number  # not before: without load, the last file might stay empty
        await until(lambda: len(gateway.audit("delivery.delivered")) == len(sent))
        assert await gateway.stop() == 0
    written = [path.stat().st_size > 0 for path in tmp_path.glob("events.jsonl.*")]
    assert written == [True] * ROTATIONS
    assert Counter(numbers(tmp_path)) == Counter(sent)
    assert len(sent) > ROTATIONS
    assert gateway.audit("delivery.retrying") == []
