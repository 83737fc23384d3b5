"""Slices of time in turns: the base, one subject, the base, the other, the base. Each is compared with the base around it.

What else the machine does changes from second to second. It then changes both sides of a ratio, and spreads the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from tests.benchmarks.figures import Figure


class Slice(Struct, frozen=True):
    """The events that a server took in one slice, and their cost."""

    events: int
    seconds: float
    cpu_seconds: float
    """Processor time of the server's process."""

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each event."""
        return self.cpu_seconds / self.events * 1e6


Measure = Callable[[], Slice]
"""Measures one slice, or one run of a given number of events."""


class Turn(Struct, frozen=True):
    """A slice, and its rate as a share of the mean rate of the slices of the base before and after it."""

    slice: Slice
    share: float
    cpu_share: float
    """The mean processor time of an event in the same slices of the base, as a share of that in this slice."""


def in_turns(base: Measure, subjects: Mapping[str, Measure], rounds: int) -> dict[str, list[Turn]]:
    """Measure each subject once a round, in the order given, with a slice of the base before each and after the last."""
    turns: dict[str, list[Turn]] = {name: [] for name in subjects}
    before = base()
    for _ in range(rounds):
        for name, measure in subjects.items():
            measured, after = measure(), base()
            rate, cpu_us = (before.per_second + after.per_second) / 2, (before.cpu_us + after.cpu_us) / 2
            turns[name].append(Turn(measured, measured.per_second / rate, cpu_us / measured.cpu_us))
            before = after
    return turns


def shares(name: str, turns: Sequence[Turn]) -> Figure:
    """Return the figure of a subject as shares of the base, with the subject's rates."""
    return _figure(name, [turn.share for turn in turns], turns)


def cpu_shares(name: str, turns: Sequence[Turn]) -> Figure:
    """Return the processor time of the base as shares of a subject's: 0.5 if an event of the subject takes twice as much."""
    return _figure(name, [turn.cpu_share for turn in turns], turns)


def multiples(name: str, turns: Sequence[Turn]) -> Figure:
    """Return the figure of the base as multiples of a subject, with the subject's rates."""
    return _figure(name, [1 / turn.share for turn in turns], turns)


def _figure(name: str, samples: Sequence[float], turns: Sequence[Turn]) -> Figure:
    slices = [turn.slice for turn in turns]
    return Figure(
        name=name,
        samples=samples,
        per_second=[one.per_second for one in slices],
        cpu_us=[one.cpu_us for one in slices],
    )
