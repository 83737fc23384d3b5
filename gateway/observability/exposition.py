"""Writes the text format of Prometheus in pieces, so that hundreds of sinks do not hold the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

_SAMPLES = 100
"""Samples per piece: a few milliseconds of work."""
Labelled = Counter | Gauge | Histogram
Children = Mapping[tuple[str, ...], Labelled]
"""The children of a metric by the values of their labels."""


class _One(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


def pieces_of(parent: Labelled, names: tuple[str, ...], children: Children) -> Iterator[bytes]:
    """Write a metric with labels, some children at a time.

    `children` may change between two pieces. A child is written whole, as it is at that moment.
    """
    (described,) = parent.describe()
    piece, header = Metric(described.name, described.documentation, described.type), 0
    for values, child in list(children.items()):
        labels = dict(zip(names, values, strict=True))
        for family in child.collect():
            for sample in family.samples:
                piece.add_sample(sample.name, {**labels, **sample.labels}, sample.value)
        if len(piece.samples) >= _SAMPLES:
            yield _without_header(piece, header)
            piece, header = Metric(described.name, described.documentation, described.type), 2
    yield _without_header(piece, header)


def whole(collector: Collector) -> Iterator[bytes]:
    """Write a metric without labels, or everything that a collector knows."""
    for family in collector.collect():
        yield generate_latest(_One(family))


def _without_header(piece: Metric, lines: int) -> bytes:
    """Write a piece without its first lines: HELP and TYPE stand only once above a metric."""
    written = generate_latest(_One(piece))
    for _ in range(lines):
        written = written.partition(b"\n")[2]
    return written
