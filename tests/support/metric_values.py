"""The values that `/metrics` shows, for tests that ask for one by its name."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.observability.metrics import PREFIX, Metrics


def metric_values(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """Return the value of every series with a name, written without its prefix, that has these labels among its own."""
    return [
        sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == f"{PREFIX}_{name}" and labels.items() <= sample.labels.items()
    ]
