"""`/metrics` of a running gateway: what is there from the start, what a reload changes, and names that Prometheus accepts."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.scraping import samples
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event

LATER = 'retry = ["0s", "1h"]\nbreaker = { failures = 9 }'
PREFIX = "legitmark_gateway_"


async def seen(running: Running) -> dict[str, float]:
    """Each sample by its name without the prefix, and its labels as `a=1,b=2`."""
    return {
        ",".join([name.removeprefix(PREFIX), *(f"{label}={value}" for label, value in labels)]): number
        for (name, labels), number in (await samples(running)).items()
    }


async def test_the_counters_of_configured_names_exist_at_0_before_anything_happens(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        fresh = await seen(running)
        running.write_config(http_sink(receiver) + http_sink(receiver, "crm") + route("erp"))
        assert (await running.admin("/-/reload", method="POST")).status == 200
        more = await seen(running)
    for reason in ("attempts_exhausted", "expired", "rejected"):
        assert fresh[f"deliveries_ended_total,reason={reason},sink=erp,state=dead"] == 0
        assert more[f"deliveries_ended_total,reason={reason},sink=crm,state=dead"] == 0
    assert fresh["messages_total,event_type=other,result=quarantined,source=legitmark"] == 0
    assert fresh["rejections_total,reason=bad_signature,source=legitmark"] == 0
    assert fresh["unrouted_total,source=legitmark"] == fresh["conflicts_total,source=legitmark"] == 0
    assert fresh["ack_seconds_count,source=legitmark"] == fresh["arrival_to_delivery_seconds_count,sink=erp"] == 0
    assert fresh["oldest_delivery_age_seconds,sink=erp"] == 0
    for state in ("queued", "delivered", "dead", "discarded"):
        assert fresh[f"deliveries,sink=erp,state={state}"] == more[f"deliveries,sink=crm,state={state}"] == 0
    assert not [name for name in fresh if "crm" in name]


async def test_the_gauges_of_the_host_and_the_store_show_the_real_values(tmp_path: Path, receiver: Receiver) -> None:
    before = time.time()
    with Running(tmp_path, http_sink(receiver) + route("erp") + '[store]\nmin_free = "3MiB"\n') as running:
        files = {"database": running.database, "wal": tmp_path / "gateway.db-wal"}
        smallest = {name: file.stat().st_size for name, file in files.items()}
        found = await seen(running)
        for name, file in files.items():  # the gateway may have written in between
            assert 0 < smallest[name] <= found[f"store_bytes,file={name}"] <= file.stat().st_size
        disk = shutil.disk_usage(tmp_path)
    assert (found["disk_min_free_bytes"], found["store_free_bytes"]) == (3 * 1024**2, 0)
    assert 0 < found["disk_free_bytes"] <= disk.total
    assert (found["ready"], found["store_failing"], found["audit_failing"], found["clock_suspect"]) == (1, 0, 0, 0)
    assert before <= found["start_time_seconds"] <= time.time()
    assert found["process_resident_memory_bytes"] > 1e6 and found["process_open_fds"] > 3


async def test_the_metrics_show_that_a_gateway_accepts_no_webhooks(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        running.write_config(http_sink(receiver) + route("erp") + '[store]\nmin_free = "900000GiB"\n')
        assert (await running.admin("/-/reload", method="POST")).status == 200
        async with asyncio.timeout(PATIENCE):
            while (await seen(running))["ready"] == 1:
                pass
        assert (await running.post(event())).status == 503
        found = await seen(running)
        assert found["rejections_total,reason=store_unavailable,source=legitmark"] == 1
        assert (found["store_failing"], found["disk_free_bytes"] < found["disk_min_free_bytes"]) == (0, True)


async def test_the_age_of_the_oldest_delivery_grows_and_stays_known_after_its_sink_is_removed(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.always = (500, {})
    with Running(tmp_path, http_sink(receiver, more=LATER) + http_sink(receiver, "old", LATER) + route("erp", "old")) as running:
        sent = time.time()
        assert (await running.post(event())).status == 200
        await until(lambda: len(running.audit("delivery.retrying")) == 2)
        running.write_config(http_sink(receiver, more=LATER) + route("erp"))
        assert (await running.admin("/-/reload", method="POST")).status == 200
        found = await seen(running)
        for sink in ("erp", "old"):
            assert 0 < found[f"oldest_delivery_age_seconds,sink={sink}"] <= time.time() - sent
            assert found[f"deliveries,sink={sink},state=queued"] == 1
            assert found[f"attempts_total,outcome=retry,reason=http_status,sink={sink}"] == 1
        assert [name for name in found if name.startswith("gate_closed") and "sink=old" in name] == []
        assert found["gate_closed,gate=breaker,sink=erp"] == found["gate_closed,gate=paused,sink=erp"] == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing on this machine")
def test_prometheus_finds_no_fault_with_the_names(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        text = asyncio.run(running.admin("/metrics")).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
