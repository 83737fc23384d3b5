"""The metrics of a running gateway."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway_process import Running


async def samples(running: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of `/metrics` by name and labels, as the parser of Prometheus' client library reads them."""
    answer = await running.admin("/metrics")
    assert answer.status == 200 and (answer.header("content-type") or "").startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
