"""`config/prometheus-alerts.yml`: Prometheus accepts it, its rules work as described, and every series that it names exists."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli.commands import COMMANDS
from gateway.config.settings import ServerSettings
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, signed

HERE = Path(__file__).parent
ALERTS = HERE.parent.parent / "config" / "prometheus-alerts.yml"
TEXT = ALERTS.read_text(encoding="utf-8")
RULES = re.split(r"^ +- alert: ", TEXT, flags=re.MULTILINE)[1:]
SELECTORS = sorted(set(re.findall(r"legitmark_gateway_\w+(?:\{[^}]*\})?", TEXT)))
WATCH = '[[watch]]\nname = "QC"\nstate = "QC/PENDING"\nafter = "4h"\n'
ONLY_WITH_TLS = "legitmark_gateway_tls_certificate_expiry_timestamp_seconds"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing on this machine")

Series = set[tuple[str, frozenset[tuple[str, str]]]]


@promtool
@pytest.mark.parametrize(
    "command", [["check", "rules", "--lint=all", "--lint-fatal", ALERTS], ["test", "rules", HERE / "alerts_test.yml"]], ids=str
)
def test_prometheus_accepts_the_rules_and_they_work_as_described(command: list[str | Path]) -> None:
    done = subprocess.run(["promtool", *map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_rules_to_look_at() -> None:
    assert len(RULES) > 20 and len(SELECTORS) > 20


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.split("\n")[0])
def test_each_rule_has_a_severity_and_names_a_command_to_run(rule: str) -> None:
    assert re.search(r"labels: \{ severity: (critical|warning) \}", rule)
    assert re.search(r"summary: .{20,}", rule)
    description = rule.partition("description: >-")[2]
    commands = re.findall(r"`gateway\s+(\w+)", description)
    assert commands and set(commands) <= {name for name, _, _ in COMMANDS}


async def scraped(running: Running) -> Series:
    answer = await running.admin("/metrics")
    families = text_string_to_metric_families(answer.body.decode())
    return {(sample.name, frozenset(sample.labels.items())) for family in families for sample in family.samples}


def selected(selector: str, series: Series) -> bool:
    """True if there is a series for the selector, or for each of the alternatives that a matcher names."""
    # With its alternatives written out, a selector is a line of the exposition format.
    parts = re.split(r'=~"([^"]*)"', selector)
    for chosen in product(*(text.split("|") for text in parts[1::2])):
        line = "".join(f'{part}="{one}"' if one else part for part, one in zip(parts[::2], [*chosen, ""], strict=True))
        (family,) = text_string_to_metric_families(f"{line} 1\n")
        (sample,) = family.samples
        if not any(name == sample.name and sample.labels.items() <= labels for name, labels in series):
            return False
    return True


async def test_every_series_that_a_rule_names_exists_after_a_day_of_work(tmp_path: Path) -> None:
    """The names and values of labels that the rule selects by."""
    with Receiver() as receiver:
        good = http_sink(receiver) + http_sink(receiver, "down", 'retry = ["0s"]') + route("erp", "down") + WATCH
        with Running(tmp_path, good) as running:
            fresh = await scraped(running)
            receiver.script.extend([(500, {}), (500, {})])
            body = event()
            assert (await running.post(body)).outcome == (200, "accepted")
            assert (await running.post(b"[]")).outcome == (200, "quarantined")
            assert (await running.post(body, signed(body, secret="whsec_" + "QUJD" * 8))).status == 401
            await until(lambda: running.audit("delivery.dead"))
            assert (await running.admin("/-/reload", method="POST")).status == 200
            running.write_config("nonsense = true")
            assert (await running.admin("/-/reload", method="POST")).status == 422
            found = await scraped(running)
    missing = [selector for selector in SELECTORS if not selected(selector, found) and selector != ONLY_WITH_TLS]
    assert missing == []
    # A counter must exist before its first event, or Prometheus does not see that event.
    counters = [selector for selector in SELECTORS if "_total" in selector]
    assert [selector for selector in counters if not selected(selector, fresh)] == []
    assert not selected('legitmark_gateway_rejections_total{reason=~"bad_signature|lost"}', found)
    assert not selected('legitmark_gateway_gate_closed{gate="rate"}', found)


@pytest.mark.skipif("tls" not in ServerSettings.__struct_fields__, reason="this gateway does not end TLS itself")
def test_the_series_of_the_certificate_exists_with_tls(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    server = '[server]\nlisten = ["127.0.0.1:0"]\ntls = { certificate = "cert.pem", key = "key.pem" }\n'
    with Running(tmp_path, server) as running:
        assert selected(ONLY_WITH_TLS, asyncio.run(scraped(running)))
