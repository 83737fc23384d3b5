"""The figures of a run: medians and quartiles of samples, the floors they are held to, the table and the document.

Nothing here measures anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace


class Spread(Struct, frozen=True):
    """The middle of some samples, and how far they lie apart."""

    lower: float
    """The first quartile."""
    median: float
    upper: float
    """The third quartile."""


class Figure(Struct, frozen=True, kw_only=True):
    """A figure with all its samples, one for each slice of time or for each run."""

    name: str
    unit: str = "x"
    """`x`: a ratio of two things that were measured in turns."""
    samples: Sequence[float]
    per_second: Sequence[float] = ()
    """Events a second in the same slices, which depend on the machine."""
    cpu_us: Sequence[float] = ()
    """Microseconds of processor time of the measured process for each event."""
    note: str = ""


class Skipped(Struct, frozen=True):
    """A figure that was not measured, and the reason."""

    name: str
    reason: str


class Bound(Struct, frozen=True):
    """The worst value that a figure may have, and the value that would be better than good."""

    worst: float
    beyond: float | None = None
    less_is_better: bool = False

    def holds(self, value: float) -> bool:
        return value <= self.worst if self.less_is_better else value >= self.worst

    def __str__(self) -> str:
        return f"{'<=' if self.less_is_better else '>='} {shown(self.worst)}"


FLOORS: Mapping[str, Bound] = {
    "durable ack / bare, 64 connections": Bound(0.50, 0.65),
    "durable ack / bare, 256 connections": Bound(0.60, 0.80),
    "durable ack / bare, 16 connections": Bound(0.32, 0.45),
    "ack p50 on 1 connection / a FULL commit": Bound(3.5, 2.5, less_is_better=True),
    "end to end / bare, 3 signed HTTP sinks": Bound(0.12, 0.20),
    "end to end / bare, 1 signed HTTP sink": Bound(0.25, 0.35),
    "notifications / Alertmanager, 1 sink": Bound(1.5, 2.0),
    "drain of 100,000 deliveries / bare": Bound(0.40, 0.60),
    "deliveries under saturating ingest / drain": Bound(0.6, 0.7),
    "sent to delivered at 1,000 events/s, 3 sinks, p99": Bound(15.0, 8.0, less_is_better=True),
    "start with 1,000,000 waiting: first delivery": Bound(1.0, 0.3, less_is_better=True),
    "start with 1,000,000 waiting: memory": Bound(80.0, less_is_better=True),
    "50 % duplicates / unique": Bound(1.0, 1.3),
    "durable ack with the ledger / without": Bound(0.90, 0.95),
    "ingest while purging / without": Bound(0.95, 1.0),
    "durable ack while somebody watches / without": Bound(0.95, 0.98),
    "slowest page at 1,000,000 messages, 1,000 events/s, p99": Bound(200.0, 50.0, less_is_better=True),
    "first byte of the slowest page at 1,000,000 messages, 1,000 events/s, p99": Bound(50.0, 20.0, less_is_better=True),
    "durable ack with 10 open pages / without": Bound(0.95, 1.0),
    "memory after 1,000,000 events": Bound(100.0, less_is_better=True),
    "growth of memory, 200,000 to 1,000,000 events": Bound(5.0, less_is_better=True),
    "routing by 200 routes, as partners write them": Bound(100.0, less_is_better=True),
    "routing by 200 routes, the worst case": Bound(100.0, less_is_better=True),
}
"""The bounds by name of figure. A figure whose name has another size in it, as in a quick run, has none."""


def spread(samples: Sequence[float]) -> Spread:
    """Return the median and the quartiles, both ends included; a single sample is all three of them."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    return Spread(*statistics.quantiles(samples, n=4, method="inclusive"))


def verdict(figure: Figure) -> bool | None:
    """Return whether the median keeps the figure's bound, or None if it has no bound."""
    bound = FLOORS.get(figure.name)
    return None if bound is None else bound.holds(spread(figure.samples).median)


def missed(figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures that do not keep their bound."""
    return [figure for figure in figures if verdict(figure) is False]


def shown(value: float) -> str:
    """Write a number with three significant digits, and with thousands separated from 1,000 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def table(figures: Sequence[Figure], skipped: Sequence[Skipped] = ()) -> str:
    """Write the figures as a Markdown table, with what was skipped below it."""
    rows: list[tuple[str, ...]] = [("figure", "median", "quartiles", "unit", "bound", "events/s", "CPU us/event"), ("---",) * 7]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([*lines, *(f"skipped: {one.name}: {one.reason}" for one in skipped)])


def _row(figure: Figure) -> tuple[str, ...]:
    middle = spread(figure.samples)
    bound = FLOORS.get(figure.name)
    return (
        figure.name,
        shown(middle.median),
        f"{shown(middle.lower)} to {shown(middle.upper)}" if len(figure.samples) > 1 else "",
        figure.unit,
        f"{bound}{_remark(bound, middle.median)}" if bound else "",
        shown(spread(figure.per_second).median) if figure.per_second else "",
        shown(spread(figure.cpu_us).median) if figure.cpu_us else "",
    )


def _remark(bound: Bound, value: float) -> str:
    if not bound.holds(value):
        return " MISSED"
    return " beyond" if bound.beyond is not None and replace(bound, worst=bound.beyond).holds(value) else ""


def document(figures: Sequence[Figure], skipped: Sequence[Skipped], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as values for JSON: `facts` are those of the machine and of the run."""
    return {
        **facts,
        "figures": [dict(_entry(figure)) for figure in figures],
        "skipped": [{"name": one.name, "reason": one.reason} for one in skipped],
    }


def _entry(figure: Figure) -> Iterator[tuple[str, Any]]:
    yield "name", figure.name
    yield "unit", figure.unit
    for field in ("samples", "per_second", "cpu_us"):
        if samples := getattr(figure, field):
            yield field, {**asdict(spread(samples)), "all": list(samples)}
    if (bound := FLOORS.get(figure.name)) is not None:
        yield "bound", {**asdict(bound), "holds": verdict(figure)}
    if figure.note:
        yield "note", figure.note
