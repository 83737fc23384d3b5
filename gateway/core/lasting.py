"""Troubles that matter only if they last: a source that sends nothing, and a sink whose breaker opens again and again. Pure.

Each is told once, and again only after it ended. The time is counted while the gateway runs, so that neither a stop of the
gateway nor a jump of the clock makes a source look silent.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

LastingKind = Literal["source_silent", "sink_failing"]
CALM = 600.0
"""Seconds without an open breaker after which the trouble of a sink is over: a breaker that opens and closes is one trouble."""


class Lasting(Struct, frozen=True):
    """How long a trouble has lasted, of one source or sink."""

    kind: LastingKind
    subject: str
    elapsed: float = 0.0
    """Seconds, without the time for which the gateway did not run."""
    told: bool = False

    @property
    def begun(self) -> bool:
        """There is something to remember."""
        return self.told or self.elapsed > 0

    def goes_on(self, seconds: float) -> Lasting:
        """Return the trouble after it lasted some seconds more."""
        return structs.replace(self, elapsed=self.elapsed + seconds)

    def ended(self) -> Lasting:
        """Return the state without the trouble."""
        return structs.replace(self, elapsed=0.0, told=False)

    def is_due(self, after: float) -> bool:
        """Return True if people have to be told now. `after` is in seconds; 0 never tells."""
        return after > 0 and not self.told and self.elapsed >= after
