"""Notices what a source says for the first time: a type, a state, a field or a reason that it does not document.

`look` is on the way of a message and only compares with what is known. `step` tells, in the commit that makes a value known.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from gateway.core.audit_events import DriftFound
from gateway.core.drift import MOST_IN_AN_HOUR, MOST_KNOWN, DriftKind, Learned, Word, drift_values, words
from gateway.core.errors import StoreError
from gateway.core.events import Event
from gateway.core.records import Message
from gateway.core.vocabulary import OwnEvent
from gateway.host.clock import Clock
from gateway.ingest.remembered_events import RememberedEvents
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.store.base import Watching

_MOST_WAITING = 100
"""New values that wait to be told. Any more are noticed when they come again."""
_HOUR = 3600.0


class _Found(Struct, frozen=True):
    """A new value, and the message that brought it."""

    word: Word
    source: str
    message_id: str
    sr_uuid: str | None
    reference_id: str | None


class DriftWatch:
    """Compares accepted events with what is known; `step` has to be called about once a second."""

    def __init__(self, *, store: Watching, events: RememberedEvents, metrics: Metrics, clock: Clock, log: Log) -> None:
        self._store = store
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._say = Sparing(log, clock.monotonic, _HOUR).say
        self._known: dict[tuple[str, DriftKind], set[str]] | None = None
        """The values by source and kind; None until they are read from the store."""
        self._waiting: dict[tuple[str, DriftKind, str], _Found] = {}
        self._told: deque[float] = deque(maxlen=MOST_IN_AN_HOUR)
        """When the last events were made, also those of an earlier life (monotonic seconds)."""

    def look(self, event: Event, message: Message) -> None:
        """Note what is new in the event of a message that was accepted. A bug in this disturbs nobody."""
        try:
            known = self._known or {}
            for word in words(event, known.get((message.source, "reason"), ())):
                key = (message.source, word.kind, word.value)
                if not self._is_known(*key) and key not in self._waiting and len(self._waiting) < _MOST_WAITING:
                    found = _Found(word, message.source, message.id, message.sr_uuid, message.reference_id)
                    self._waiting[key] = found
        except Exception:
            self._say("exception", "drift.bug", message.source, message_id=message.id)

    async def step(self) -> None:
        """Tell what is new, at most so much in an hour; the rest waits. Raises StoreError."""
        if self._known is None:
            await self._remember()
        for key, found in list(self._waiting.items()):
            source, kind, value = key
            if self._is_known(source, kind, value):
                del self._waiting[key]
                continue
            now = self._clock.monotonic()
            if len(self._told) == MOST_IN_AN_HOUR and now - self._told[0] < _HOUR:
                self._say("warning", "drift.held", None, waiting=len(self._waiting), do=f"more than {MOST_IN_AN_HOUR} in an hour")
                return
            if not await self._tell(found):
                return
            del self._waiting[key]
            self._told.append(now)

    async def _remember(self) -> None:
        """Read what is known, and how many became known in the last hour: people were told of those, in this life or before."""
        now = self._clock.now()
        learned = await self._store.words_learned(now - _HOUR, MOST_IN_AN_HOUR)
        known = await self._store.known_words()
        self._told.clear()
        self._told.extend(self._clock.monotonic() - max(0.0, now - at) for at in learned)
        self._known = known

    def _is_known(self, source: str, kind: DriftKind, value: str) -> bool:
        """Return True if nobody has to be told of a value, also because as many are known as are remembered."""
        known = None if self._known is None else self._known.get((source, kind))
        return known is not None and (value in known or len(known) >= MOST_KNOWN)

    async def _tell(self, found: _Found) -> bool:
        word, source = found.word, found.source
        values = drift_values(word, source)
        ids = {"message_id": found.message_id, "sr_uuid": found.sr_uuid, "reference_id": found.reference_id}
        learned = Learned(source, word.kind, word.value, self._clock.now())
        line = DriftFound(source=source, kind=word.kind, value=word.value, path=word.path, detail=values["detail"])
        try:
            told = await self._events.tell(OwnEvent.DRIFT, values | ids, (learned,), line)
        except StoreError:
            self._known = None
            raise
        if not told:
            self._known = None  # the commit may reappear
            return False
        assert self._known is not None
        known = self._known.setdefault((source, word.kind), set())
        known.add(word.value)
        self._metrics.drift(source, word.kind)
        if len(known) == MOST_KNOWN:
            self._log.warning("drift.full", source=source, kind=word.kind, do="nothing new of this kind is reported any more")
        return True
