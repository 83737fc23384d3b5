"""Files of evidence that the running gateway makes: places, refusals, and work that ends with the one who asked."""

from __future__ import annotations

import bz2
import os
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import structlog

from gateway.control.evidence_files import MOST_AT_ONCE, EvidenceExport, EvidenceFiles, NoEvidence, WhyNone
from gateway.core.errors import StoreFailed
from gateway.core.evidence_file import read_record
from gateway.core.values import rfc3339
from gateway.observability.audit_files import LONGEST_LINE, log_lines
from gateway.observability.unsealed import SealHead
from tests.engine.interventions_bench import InterventionsBench, operating
from tests.fakes import START, FakeClock
from tests.support.waiting import until


class HurriedClock(FakeClock):
    """A clock of which each look takes a tenth of a second, so that every piece ends early."""

    def monotonic(self) -> float:
        self.passed += 0.1
        return self.passed


class Bench:
    def __init__(self, operating: InterventionsBench, folder: Path) -> None:
        self.store, self.keep = operating.store, operating.keep
        self.path = folder / "audit.jsonl"
        capture = structlog.testing.CapturingLogger()
        self.said = capture.calls
        self.files = EvidenceFiles(
            store=self.store,
            seal=self._seal,
            path=self.path,
            clock=HurriedClock(),
            log=structlog.wrap_logger(capture, processors=[]),
        )

    async def _seal(self) -> SealHead:
        return SealHead()

    def write(self, lines: int, *, at: float = START) -> None:
        """Write a log with nothing about any message."""
        self.path.write_text(f'{{"v":1,"time":"{rfc3339(at)}","event":"sink.paused"}}\n' * lines, encoding="utf-8")
        os.utime(self.path, (START + 86400, START + 86400))

    async def refused(self, asked: str = "sr") -> WhyNone:
        with pytest.raises(NoEvidence) as refused:
            await self.files.begin(asked)
        return refused.value.why


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    async with operating(tmp_path, clock) as operated:
        bench = Bench(operated, tmp_path)
        await bench.keep("msg_1", sr_uuid="sr")
        bench.write(1)
        yield bench


async def test_a_place_is_free_again_when_a_file_is_closed_even_if_nobody_read_it(bench: Bench) -> None:
    begun = [await bench.files.begin("sr") for _ in range(MOST_AT_ONCE)]
    assert await bench.refused() == "evidence_busy"
    begun[0].close()
    begun[0].close()
    (await bench.files.begin("sr")).close()
    again = await bench.files.begin("sr")
    assert await bench.refused() == "evidence_busy", "closing twice frees one place"
    for one in (*begun, again):
        one.close()


async def test_a_refusal_takes_no_place(bench: Bench) -> None:
    for _ in range(MOST_AT_ONCE + 1):
        assert await bench.refused("nobody") == "no_messages"
    bench.path.unlink()
    for _ in range(MOST_AT_ONCE + 1):
        assert await bench.refused() == "no_log"
    await until(lambda: _threads() == [])


async def test_a_log_that_is_a_pipe_is_refused_and_not_waited_for(bench: Bench) -> None:
    bench.path.unlink()
    os.mkfifo(bench.path)
    assert await bench.refused() == "no_log"


async def test_a_log_that_begins_after_the_last_message_is_gone_and_clocks_may_differ_by_an_hour(bench: Bench) -> None:
    bench.write(1, at=START + 3600.0)
    (await bench.files.begin("sr")).close()
    bench.write(1, at=START + 3601.0)
    assert await bench.refused() == "log_gone"


async def test_the_caller_can_stop_between_two_pieces_though_the_log_goes_on(bench: Bench) -> None:
    bench.write(50_000)
    export = await bench.files.begin("sr")
    async with aclosing(export.pieces()) as pieces:
        async for piece in pieces:
            if not piece:
                break
        else:
            pytest.fail("the whole log was read at one go")
    export.close()
    await until(lambda: _threads() == [])


async def test_a_file_that_is_read_to_its_end_is_whole_and_its_thread_ends(bench: Bench) -> None:
    bench.write(500)
    lines = (await _whole(await bench.files.begin("sr"))).splitlines()
    assert [type(read_record(line).record).__name__ for line in lines] == ["AboutRecord", "MessageRecord", "EndRecord"]
    await until(lambda: _threads() == [])


async def test_a_file_of_the_log_that_is_not_read_is_named_in_the_log(bench: Bench) -> None:
    packed = bench.path.with_name("audit.jsonl.1.bz2")
    packed.write_bytes(bz2.compress(b"{}\n"))
    await _whole(await bench.files.begin("sr"))
    (said,) = [call for call in bench.said if call.kwargs["event"] == "evidence.file_skipped"]
    assert said.kwargs["file"] == str(packed) and "unpack it" in said.kwargs["reason"]


def test_a_line_that_no_gateway_wrote_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    os.truncate(path, LONGEST_LINE + 1)
    with path.open("rb") as file, pytest.raises(StoreFailed, match="is no audit log"):
        list(log_lines(file, grows=False))


async def _whole(export: EvidenceExport) -> bytes:
    try:
        return b"".join([piece async for piece in export.pieces()])
    finally:
        export.close()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "evidence"]
