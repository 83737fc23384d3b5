"""Keeps in the list of acts that a person asked for one service request, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from gateway.reconcile.jobs import Job
from gateway.store.people import KeepingActs


class AskedActs:
    """Writes down what jobs with one request tell it. A job for many requests is in the audit log alone."""

    def __init__(self, store: KeepingActs) -> None:
        self._store = store
        self._changed = deque[Job]()
        """The jobs that began or ended, each as often as it did, in that order."""
        self._rows: dict[int, int] = {}
        """The ids of the acts that go on, by the numbers of their jobs."""

    @property
    def under_way(self) -> Collection[int]:
        """The ids of the acts whose outcome is not written down yet."""
        return self._rows.values()

    def note(self, job: Job) -> None:
        """Take down that a job began or ended; `keep` writes it."""
        if job.alone is not None and not job.by_itself:
            self._changed.append(job)

    async def keep(self) -> None:
        """Write what was taken down. Raises StoreError; then the next call goes on where this one ended."""
        while self._changed:
            job = self._changed[0]
            if (id := self._rows.get(job.number)) is None:
                self._rows[job.number] = await self._store.keep_act("ask", job.alone or "", now=job.began_at, actor=job.actor)
            else:
                await self._store.end_act(id, job.outcome_text())
                del self._rows[job.number]
            self._changed.popleft()
