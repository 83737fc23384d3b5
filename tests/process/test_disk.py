"""A disk that is full, or nearly full: messages that were answered 200 survive, and all goes on when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.process.disk_sender import Sender, all_delivered_once, is_ready, reasons, refused
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.sealed_log import checked
from tests.support.small_disk import fill
from tests.support.waiting import until

MIB = 1024 * 1024


async def test_no_webhook_is_acknowledged_while_the_disk_is_full_and_all_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    toml = '[store]\nmin_free = "0B"\n' + http_sink(receiver, more="concurrency = 4") + route("erp")
    running = Running(small_disk, toml)
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        for _ in range(10):
            assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        receiver.hold()
        for _ in range(10):
            assert (await sender.post()).status == 200
        await until(lambda: len(receiver.requests) == 14)

        filler = fill(small_disk)
        await sender.is_refused()  # messages that fit into the pages that SQLite had were rightly accepted
        for _ in range(20):
            assert refused(await sender.post())
        assert "full" in await reasons(running) or "audit log" in await reasons(running)
        assert (await running.admin("/-/healthy")).status == 200
        receiver.release()  # four outcomes that can't be committed, and must not be forgotten
        await asyncio.sleep(1.5)  # longer than a lane waits between two tries
        assert len(receiver.requests) == 14 and running.alive  # the slots stay taken

        filler.unlink()
        await until(lambda: len(receiver.requests) >= 20)  # without help, before anything is posted
        await is_ready(running)
        await sender.again_until_taken()
        await all_delivered_once(running, receiver, sender)


async def test_a_gateway_goes_on_after_a_full_disk_that_also_holds_its_log(small_disk: Path, receiver: Receiver) -> None:
    """stderr goes to a file on the same disk: log lines are lost, but the process lives on and keeps its promises."""
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    sender = Sender(running)
    with running:
        assert (await sender.post()).status == 200
        filler = fill(small_disk)
        await sender.is_refused()
        for _ in range(5):
            assert refused(await sender.post())
        filler.unlink()
        await sender.again_until_taken()
        await is_ready(running)
        await all_delivered_once(running, receiver, sender)
        assert await running.stop() == 0
        log = checked(running.audit_file)
        assert (log.problems, log.proven) == ([], log.lines), "every line is under a seal, once"


async def test_a_gateway_without_work_is_ready_again_by_itself_when_the_full_disk_has_room(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    """A load balancer sends no webhook to a gateway that is not ready, so it must find out by itself that it can write."""
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        assert (await sender.post()).status == 200
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        filler = fill(small_disk)
        await sender.is_refused()
        assert await reasons(running)
        filler.unlink()
        await is_ready(running)


async def test_a_kill_while_the_disk_is_full_loses_no_message(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running, alive=False):
        await asyncio.gather(*(sender.post() for _ in range(20)))
        filler = fill(small_disk)
        await sender.is_refused()
        running.kill()
        filler.unlink()
        await asyncio.to_thread(running.start)
        await sender.again_until_taken()
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert {message for (message,) in running.rows("SELECT id FROM messages")} == sender.ids()
        assert {request.body for request in receiver.requests} == set(sender.bodies.values())
        assert running.rows("PRAGMA integrity_check") == [("ok",)]
        assert await running.stop() == 0
        log = checked(running.audit_file)
        assert (log.problems, log.proven) == ([], log.lines), "every line is under a seal, once"


async def test_below_min_free_webhooks_are_refused_while_lanes_go_on(
    small_disk: Path, tmp_path: Path, receiver: Receiver
) -> None:
    running = Running(small_disk, '[store]\nmin_free = "2MiB"\n' + http_sink(receiver, more="concurrency = 1") + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        receiver.hold()
        for _ in range(10):
            assert (await sender.post()).status == 200
        filler = fill(small_disk, leave=MIB)
        await until(lambda: "space.low" in running.stderr())
        assert refused(await sender.post())
        assert "store.min_free" in await reasons(running)
        receiver.release()
        await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == [(10,)])
        assert refused(await sender.post()) and len(receiver.requests) == 10
        filler.unlink()
        await is_ready(running)
        await sender.again_until_taken()
        await all_delivered_once(running, receiver, sender)
        assert running.stderr().count("space.low") == running.stderr().count("space.back") == 1


async def test_a_start_below_min_free_delivers_queued_messages_and_accepts_none(tmp_path: Path, receiver: Receiver) -> None:
    """No disk has as much room as this `min_free` asks for, so this test needs no small one."""
    sinks = http_sink(receiver, more="concurrency = 1") + route("erp")
    running = Running(tmp_path, sinks)
    sender = Sender(running)
    with running, no_traceback(running):
        receiver.hold()
        for _ in range(5):
            assert (await sender.post()).status == 200
        await until(lambda: receiver.requests)  # else the one in flight may arrive after the kill
        running.kill()
        receiver.requests.clear()
        receiver.release()
        running.write_config('[store]\nmin_free = "900000GiB"\n' + sinks)
        running.launch()
        await until(running.is_listening)
        await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
        assert len(receiver.requests) == 5
        assert refused(await sender.post()) and "store.min_free" in await reasons(running)
        assert running.rows("SELECT count(*) FROM messages") == [(5,)]


async def test_a_start_on_a_full_disk_says_so_and_loses_no_message(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    sender = Sender(running)
    with running, no_traceback(running):
        for _ in range(5):
            assert (await sender.post()).status == 200
        await until(lambda: len(running.audit("delivery.delivered")) == 5)
        assert await running.stop() == 0
        filler = fill(small_disk)
        for _ in range(2):
            await end_for_lack_of_room(running)
        filler.unlink()
        await asyncio.to_thread(running.start)
        assert (await sender.post()).status == 200
        await all_delivered_once(running, receiver, sender)


async def test_the_very_first_start_on_a_full_disk_says_so(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    running = Running(small_disk, '[store]\nmin_free = "0B"\n' + http_sink(receiver) + route("erp"))
    running.stderr_file = tmp_path / "stderr.log"
    with running.stderr_file.open("w"), no_traceback(running, alive=False):
        filler = fill(small_disk)
        for _ in range(2):
            await end_for_lack_of_room(running)
        filler.unlink()
    with running, no_traceback(running):
        assert (await Sender(running).post()).status == 200


async def end_for_lack_of_room(running: Running) -> None:
    running.launch()
    assert await running.exit_code() == 74
    said = running.stderr().splitlines()[-1]
    assert said.startswith("gateway: error: ") and "the disk is full: make room" in said, said
