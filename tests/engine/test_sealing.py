"""The audit log is sealed: every line that is written is covered once, whatever happens to the file and to the process."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from gateway.core.audit_events import MessageUnrouted, SinkClosed
from gateway.core.documents import Ids
from gateway.maintenance.sealing import SEAL_LINES, SEAL_SECONDS, Sealing
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.unsealed import SealHead, Seals
from tests.fakes import FakeClock
from tests.support.sealed_log import checked, lines_of, seals_of


class Life:
    """One life of a gateway, as far as its audit log goes."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder, self.clock = folder, clock
        self.path = folder / "audit.jsonl"
        self.told: list[SealHead] = []
        self.tells = True
        capture = structlog.testing.CapturingLogger()
        self.said = capture.calls
        log: Log = structlog.wrap_logger(capture, processors=[])
        seals = Seals(folder / "gateway.db.seal")
        self.audit = AuditLog(self.path, clock, log, seals)
        self.sealing = Sealing(audit=self.audit, seals=seals, tell=self._tell, metrics=Metrics(), clock=clock, log=log)
        self.sealing.begin(self.path)

    async def _tell(self, head: SealHead) -> bool:
        if self.tells:
            self.told.append(head)
        return self.tells

    async def write(self, *sinks: str) -> None:
        """Write a line for each sink, half of them as the store's writer does it."""
        for number, sink in enumerate(sinks):
            if number % 2:
                self.audit.step(SinkClosed(sink=sink))
                await self.audit.write()
            else:
                ids = Ids(sink, None, "legitmark", None, None, None, None)
                assert not self.audit.write_now([self.audit.line(MessageUnrouted(), ids)])

    async def pass_minute(self) -> None:
        self.clock.advance(SEAL_SECONDS)
        await self.sealing.step()

    async def end(self) -> None:
        await self.sealing.finish()
        self.audit.close()


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def life(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Life]:
    life = Life(tmp_path, clock)
    yield life
    life.audit.close()


async def test_a_minute_makes_a_seal_over_the_lines_since_the_last_one(life: Life) -> None:
    await life.write("a", "b")
    await life.sealing.step()
    assert seals_of(life.path) == []
    await life.pass_minute()
    await life.write("c")
    await life.pass_minute()
    first, second = seals_of(life.path)
    assert (first.number, first.lines, first.before) == (1, 2, None)
    assert (second.number, second.lines, second.before) == (2, 1, first.seal)
    check = checked(life.path)
    assert (check.problems, check.notes, check.proven) == ([], [], 3)


async def test_a_minute_without_a_line_makes_no_seal(life: Life) -> None:
    await life.write("a")
    for _ in range(3):
        await life.pass_minute()
    assert len(seals_of(life.path)) == 1


async def test_many_lines_do_not_wait_for_their_minute(life: Life) -> None:
    life.audit.add([b'{"v":1,"n":%d}' % number for number in range(SEAL_LINES)])
    await life.audit.write()
    await life.sealing.step()
    assert [seal.lines for seal in seals_of(life.path)] == [SEAL_LINES]


async def test_lines_that_are_written_while_a_seal_is_made_are_covered_once(life: Life) -> None:
    async def write() -> None:
        for number in range(200):
            await life.write(f"s{number}")
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    while not writing.done():
        await life.sealing.now()
    await writing
    await life.sealing.now()
    check = checked(life.path)
    assert (check.problems, check.notes, check.proven) == ([], [], 200)


async def test_a_stop_seals_what_is_left_and_the_next_start_goes_on(tmp_path: Path, clock: FakeClock) -> None:
    for sink in ("a", "b"):
        life = Life(tmp_path, clock)
        await life.write(sink)
        await life.end()
    first, second = seals_of(life.path)
    assert (second.number, second.before, second.read_back) == (2, first.seal, 0)


@pytest.mark.parametrize("head", ["kept", "lost"])
async def test_after_a_crash_the_lines_without_a_seal_are_read_back_and_told(tmp_path: Path, clock: FakeClock, head: str) -> None:
    life = Life(tmp_path, clock)
    await life.write("a")
    await life.pass_minute()
    await life.write("b", "c")
    life.audit.close()  # killed
    if head == "lost":
        (tmp_path / "gateway.db.seal").unlink()
    life = Life(tmp_path, clock)
    await life.write("d")
    await life.end()
    first, second = seals_of(life.path)
    assert (second.number, second.lines, second.read_back, second.before) == (2, 3, 2, first.seal)
    check = checked(life.path)
    assert check.problems == [] and check.proven == 4 and "read back" in check.notes[0]


async def test_a_line_that_a_crash_tore_is_covered_as_it_stands(tmp_path: Path, clock: FakeClock) -> None:
    life = Life(tmp_path, clock)
    await life.write("a")
    life.audit.close()
    with life.path.open("ab") as file:
        file.write(b'{"v":1,"time":"2026-')
    life = Life(tmp_path, clock)
    await life.write("b")
    await life.end()
    check = checked(life.path)
    assert check.problems == [] and check.proven == 3 and [seal.read_back for seal in seals_of(life.path)] == [2]


async def test_a_log_that_lost_its_end_is_told_at_the_start_and_by_the_check(tmp_path: Path, clock: FakeClock) -> None:
    life = Life(tmp_path, clock)
    for sink in "abc":
        await life.write(sink)
        await life.pass_minute()
    life.audit.close()
    life.path.write_bytes(b"\n".join(lines_of(life.path)[:3]) + b"\n")  # seals 2 and 3 are gone, as after a power cut
    life = Life(tmp_path, clock)
    assert "audit.seals_lost" in str(life.said)
    await life.write("d")
    await life.end()
    (problem,) = checked(life.path).problems
    assert problem.text == "seals 2 to 3 dropped before this one"


async def test_a_log_that_was_taken_away_does_not_begin_a_new_chain(tmp_path: Path, clock: FakeClock) -> None:
    life = Life(tmp_path, clock)
    await life.write("a")
    await life.end()
    (before,) = seals_of(life.path)
    life.path.unlink()
    life = Life(tmp_path, clock)
    await life.write("b")
    await life.end()
    (seal,) = seals_of(life.path)
    assert (seal.number, seal.before) == (2, before.seal)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
async def test_a_rotation_between_two_seals_loses_no_line_and_no_seal(tmp_path: Path, clock: FakeClock, packed: bool) -> None:
    life = Life(tmp_path, clock)
    await life.write("a")
    await life.pass_minute()
    await life.write("b")
    rotated = life.path.rename(tmp_path / "audit.jsonl.1")
    life.path.touch()
    await life.write("c")
    life.audit.close()  # killed
    if packed:
        other = tmp_path / "audit.jsonl.1.gz"
        other.write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
        rotated = other
    life = Life(tmp_path, clock)
    await life.write("d")
    await life.end()
    assert [(seal.number, seal.lines, seal.read_back) for seal in seals_of(rotated, life.path)] == [(1, 1, 0), (2, 3, 2)]
    assert checked(rotated, life.path).problems == []


async def test_the_log_of_an_earlier_version_is_sealed_as_the_start_finds_it(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"v":1,"event":"sink.closed"}\n' * 3)
    life = Life(tmp_path, clock)
    await life.write("a")
    await life.end()
    assert [(seal.number, seal.lines, seal.read_back) for seal in seals_of(life.path)] == [(1, 4, 3)]


async def test_a_seal_that_the_disk_refuses_is_made_later_over_the_same_lines(life: Life) -> None:
    await life.write("a")
    whole = life.path.rename(life.folder / "kept")
    life.path.mkdir()  # nothing can be written to a folder
    await life.pass_minute()
    await life.pass_minute()
    assert str(life.said).count("audit.not_sealed") == 2
    life.path.rmdir()
    whole.rename(life.path)
    await life.pass_minute()
    assert [(seal.number, seal.lines) for seal in seals_of(life.path)] == [(1, 1)]
    assert checked(life.path).problems == []


async def test_the_head_is_told_once_a_day_across_restarts(tmp_path: Path, clock: FakeClock) -> None:
    told: list[SealHead] = []
    for sink in "abc":
        life = Life(tmp_path, clock)
        await life.write(sink)
        await life.pass_minute()
        told += life.told
        await life.end()
    assert [head.number for head in told] == [1]
    clock.advance(86400.0)
    life = Life(tmp_path, clock)
    await life.write("d")
    await life.pass_minute()
    (head,) = life.told
    assert (head.number, head.seal) == (4, seals_of(life.path)[-1].seal)
    await life.end()


async def test_a_head_that_could_not_be_told_is_told_later(life: Life) -> None:
    life.tells = False
    await life.write("a")
    await life.pass_minute()
    life.tells = True
    await life.sealing.step()
    assert [head.number for head in life.told] == [1]


async def test_the_head_is_on_disk_for_its_owner_and_group_alone(life: Life) -> None:
    await life.write("a")
    await life.pass_minute()
    file = life.folder / "gateway.db.seal"
    assert json.loads(file.read_bytes())["number"] == 1 and file.stat().st_mode & 0o777 == 0o640
