"""Slices of time in turns: bare, one, bare, the other, bare. Each slice is compared with the bare ones around it.

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
    """A slice, and its rate as a share of the mean rate of the bare slices before and after it."""

    slice: Slice
    share: float


def in_turns(bare: Measure, subjects: Mapping[str, Measure], rounds: int) -> dict[str, list[Turn]]:
    """Measure each subject once a round, in the order given, with a bare slice before each and after the last."""
    turns: dict[str, list[Turn]] = {name: [] for name in subjects}
    before = bare()
    for _ in range(rounds):
        for name, measure in subjects.items():
            measured, after = measure(), bare()
            turns[name].append(Turn(measured, measured.per_second / ((before.per_second + after.per_second) / 2)))
            before = after
    return turns


def shares(name: str, turns: Sequence[Turn]) -> Figure:
    """Return the figure of a subject as shares of the bare handler."""
    return _figure(name, [turn.share for turn in turns], turns)


def ratios(name: str, turns: Sequence[Turn], others: Sequence[Turn]) -> Figure:
    """Return the figure of a subject as its rate divided by that of another one, round by round.

    Both are taken as shares of the bare slices around them, so that a machine that becomes slower between them changes little.
    """
    samples = [turn.share / other.share for turn, other in zip(turns, others, strict=True)]
    return _figure(name, samples, turns)


def _figure(name: str, samples: Sequence[float], turns: Sequence[Turn]) -> Figure:
    slices = [turn.slice for turn in turns]
    return Figure(
        name=name,
        samples=samples,
        per_second=[one.per_second for one in slices],
        cpu_us=[one.cpu_us for one in slices],
    )
