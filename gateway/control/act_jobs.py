"""Acts of people that take longer than a request: they go on when the page is closed, and a page shows how far they are.

Four go on at a time. What a job did is in the store and in the audit log; the job itself is forgotten by a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal

from msgspec import Struct

from gateway.control.bulk_acts import Slice
from gateway.control.drills import Drilled
from gateway.core.errors import GatewayError
from gateway.host.clock import Clock
from gateway.observability.logs import Log

MOST_UNDER_WAY = 32
_MOST_KEPT = 200
"""Jobs that can be looked at, those under way included; the oldest ended one is forgotten for a new one."""
MOST_AT_ONCE = 4
"""Tasks that run `ActJobs.run`: an act over many deliveries delays no other."""

JobAct = Literal["replay", "reroute", "discard", "drill", "sample"]
Work = Callable[[], AsyncIterator["Slice | Drilled | SampleSent"]]
"""Does an act, and yields what it has done."""


class SampleSent(Struct, frozen=True):
    """A sample that the gateway has taken in."""

    message_id: str


class TooManyJobs(Exception):
    """So many acts are under way that no other may begin."""


class ActJob:
    """One act."""

    def __init__(self, id: str, act: JobAct, about: Mapping[str, str], actor: str, began_at: float, total: int | None) -> None:
        self.id = id
        self.act = act
        self.about = about
        """The things that the act is about, by the names of the parameters of the page that asked for it."""
        self.actor = actor
        self.began_at = began_at
        self.total = total
        """How many deliveries were counted before it began; None if they were not."""
        self.ended_at: float | None = None
        self.looked_at = self.changed = self.late = 0
        self.drilled: list[Drilled] = []
        self.message_id: str | None = None
        self.failed: str | None = None
        """Why it ended early; what was changed until then stays changed."""
        self.over = asyncio.Event()

    def note(self, done: Slice | Drilled | SampleSent) -> None:
        """Take down what was done."""
        match done:
            case Slice():
                self.looked_at += done.looked_at
                self.changed += done.changed
                self.late += done.late
            case Drilled():
                self.drilled.append(done)
                self.changed += 1
            case SampleSent():
                self.message_id = done.message_id
                self.changed += 1


class ActJobs:
    """The acts that are under way, and the last ones that ended."""

    def __init__(self, *, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._jobs: dict[str, ActJob] = {}
        self._by_form: dict[tuple[str, str], ActJob] = {}
        self._waiting: asyncio.Queue[tuple[ActJob, Work]] = asyncio.Queue()
        self.progress = 0
        """A number that is another one after each change of a job."""

    def begin(
        self, form: str, act: JobAct, about: Mapping[str, str], work: Work, *, actor: str, total: int | None = None
    ) -> ActJob:
        """Begin an act; if the same form of the same user has begun one, return that. Raises TooManyJobs.

        Args:
            form: a text that is another one for each form that was shown, so that a form sent twice acts once.
            total: how many deliveries were counted.
        """
        if (known := self._by_form.get((actor, form))) is not None:
            return known
        if sum(not job.over.is_set() for job in self._jobs.values()) >= MOST_UNDER_WAY:
            raise TooManyJobs(f"{MOST_UNDER_WAY} acts are under way: wait until one has ended")
        job = ActJob(self._clock.new_id(), act, about, actor, self._clock.now(), total)
        self._jobs[job.id] = self._by_form[actor, form] = job
        self._forget()
        self._waiting.put_nowait((job, work))
        self.progress += 1
        return job

    def job(self, id: str) -> ActJob | None:
        """Return a job; None if there is none with this id, or it was forgotten."""
        return self._jobs.get(id)

    def under_way(self) -> list[ActJob]:
        """Return the jobs that have not ended, the newest first."""
        return [job for job in reversed(self._jobs.values()) if not job.over.is_set()]

    async def wait(self, job: ActJob, seconds: float) -> None:
        """Wait for the end of a job, at most for some seconds."""
        await self._clock.wait(job.over, seconds)

    async def run(self) -> None:
        """Do what is asked for, one act at a time, until cancelled. `MOST_AT_ONCE` tasks run it."""
        while True:
            job, work = await self._waiting.get()
            try:
                async for done in work():
                    job.note(done)
                    self.progress += 1
            except (GatewayError, ValueError, LookupError) as error:
                job.failed = str(error)
            except asyncio.CancelledError:
                job.failed = "the gateway stopped"
                raise
            except Exception:
                job.failed = "a bug of the gateway: its log has the details"
                self._log.exception("act.bug", act=job.act, actor=job.actor)
            finally:
                job.ended_at = self._clock.now()
                job.over.set()
                self.progress += 1

    def _forget(self) -> None:
        ended = [job for job in self._jobs.values() if job.over.is_set()]
        for job in ended[: max(len(self._jobs) - _MOST_KEPT, 0)]:
            del self._jobs[job.id]
        self._by_form = {key: job for key, job in self._by_form.items() if job.id in self._jobs}
