"""The lanes that work, by the name of their sink. Whatever needs a lane looks it up here, and `Lanes` alone writes to it.

It is made before the lanes are: the lanes report what happens to a delivery through the inbox, and the inbox offers them
fresh deliveries.
"""

from __future__ import annotations

from gateway.core.records import Owed
from gateway.delivery.lane import Lane


class Directory(dict[str, Lane]):
    def offer(self, owed: Owed, due: float) -> None:
        """Hand a fresh delivery to its lane; one whose sink has just left the configuration waits in the store."""
        if (lane := self.get(owed.sink)) is not None:
            lane.offer(owed, due)

    def expect(self, sink: str, due: float) -> None:
        """Tell a lane that a delivery in the store is due at an instant, earlier than it knows."""
        if (lane := self.get(sink)) is not None:
            lane.expect(due)
