"""Asks the API for one service request after the other, and tells of each confirmed disagreement.

One question at a time, oldest request first, at a bounded rate for all jobs together. Jobs of people come before those that began
by themselves. Everything waits while the API asks for a pause or fails; a refused key ends all jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec import Struct

from gateway.core.errors import StoreError
from gateway.core.ledger import state_text
from gateway.core.reconciliation import (
    CONFIRM_SECONDS,
    MOST_TRIES,
    Busy,
    Current,
    KnownState,
    NotFound,
    Refused,
    Reply,
    Result,
    Trigger,
    Unanswered,
    Unusable,
    backoff,
    compare,
    differs_text,
    is_uuid,
)
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.reconcile.announcements import Announcements
from gateway.reconcile.asked_acts import AskedActs
from gateway.reconcile.job_list import MOST_JOBS, JobList
from gateway.reconcile.jobs import Job, JobFacts, Question, Reconciled, Stop
from gateway.reconcile.known_states import KnownStates
from gateway.reconcile.legitmark_api import ApiAccess, LegitmarkApi
from gateway.store.people import KeepingActs

MOST_NAMED = 1000
"""Service requests that a person may name in one job."""
_STORE_SECONDS = 5.0
"""Seconds to wait while the store cannot be asked."""


class Reconciling(Struct, frozen=True, kw_only=True):
    """The configuration of reconciliation."""

    access: ApiAccess
    source: str
    """The source whose service requests are compared."""
    rate: float
    """Questions per second."""
    most: int
    """Requests of a job that begins by itself, or by `--open`."""
    emit: bool
    gap: float
    """Seconds without a message of the source after which a reconciliation begins by itself."""


class CannotReconcile(Exception):
    """A reconciliation cannot begin; the text says why, and what to do."""


class UnknownRequest(LookupError):
    """A text that stands for no service request."""


class Reconciler:
    """The jobs, and the way to the API."""

    def __init__(
        self,
        settings: Reconciling | None,
        *,
        known: KnownStates,
        announcements: Announcements,
        acts: KeepingActs,
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        log: Log,
        open_api: Callable[[ApiAccess, Clock], LegitmarkApi] = LegitmarkApi,
    ) -> None:
        """
        Args:
            settings: None if the configuration has no [reconcile].
        """
        self._known = known
        self._announcements = announcements
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._say = Sparing(log, clock.monotonic).say
        self._open_api = open_api
        self._settings = settings
        self._api = None if settings is None else open_api(settings.access, clock)
        self._left_behind: list[LegitmarkApi] = []
        """Ways to the API that a reload replaced, still to be closed."""
        self._acts = AskedActs(acts)
        self._jobs = JobList(acts=self._acts, audit=audit, metrics=metrics, clock=clock)
        self._next_at = 0.0
        """Monotonic seconds before which nothing is asked."""
        self._failures = 0
        """Questions in a row that got no usable answer."""
        self._waiting_for: str | None = None
        self._wake = asyncio.Event()
        self.refused: str | None = None
        """Why the API refused the key, and what to do; None while it does not."""

    @property
    def settings(self) -> Reconciling | None:
        return self._settings

    def use(self, settings: Reconciling | None) -> None:
        """Go by another configuration from the next question on. Another key or URL ends the refusal of the old one."""
        before, self._settings = self._settings, settings
        if settings is not None and before is not None and settings.access.same_as(before.access):
            return
        if self._api is not None:
            self._left_behind.append(self._api)
        self._api = None if settings is None else self._open_api(settings.access, self._clock)
        self._set_refused(None)
        self._failures, self._next_at, self._waiting_for = 0, 0.0, None
        if settings is None:
            self._jobs.end_all(Stop("unconfigured", "[reconcile] left the configuration"))
        self._wake.set()

    async def begin(self, ids: Sequence[str], *, open_requests: bool, actor: str) -> JobFacts:
        """Begin a job for a person.

        Args:
            ids: uuids, also those that the gateway never heard of; or what else stands for requests that it heard of.
            open_requests: also all requests that have not ended.
        Raises:
            CannotReconcile: nothing was begun.
            UnknownRequest: an id stands for no request; nothing was begun.
            StoreError: the store cannot be asked now.
            ValueError: nothing, or too much, was named.
        """
        settings = self._ready()
        if not ids and not open_requests:
            raise ValueError("name service requests, or ask for the open ones")
        if len(ids) > MOST_NAMED:
            raise ValueError(f"at most {MOST_NAMED} ids at once")
        known = await self._named(settings.source, ids)
        if open_requests:
            for one in await self._known.open_requests(settings.source, settings.most):
                known.setdefault(one.sr_uuid, one)
        return self.facts(self._begin(_oldest_first(known), actor))

    def ask(self, sr_uuid: str, actor: str) -> Job:
        """Begin a job of a person for one request, which the gateway may never have heard of. Raises CannotReconcile."""
        self._ready()
        return self._begin([sr_uuid], actor)

    async def begin_by_itself(self, trigger: Trigger) -> bool:
        """Begin a job for all open requests, unless one is under way. Return False if it has to be tried later."""
        if self._settings is None or self.refused is not None or self._jobs.has_one_by_itself:
            return True
        try:
            found = await self._known.open_requests(self._settings.source, self._settings.most)
        except StoreError as error:
            self._say("warning", "reconcile.postponed", trigger, trigger=trigger, error=str(error))
            return False
        if found and self._settings is not None:
            job = self._add([one.sr_uuid for one in found], trigger, trigger)
            self._log.info("reconcile.began", trigger=trigger, job=job.number, requests=job.total)
        return True

    def facts(self, job: Job) -> JobFacts:
        """Describe a job."""
        why, seconds = self.waiting
        return job.facts(seconds, why)

    @property
    def jobs(self) -> JobList:
        return self._jobs

    @property
    def acts_under_way(self) -> Collection[int]:
        """The ids of the acts in the store whose outcome is not written down yet."""
        return self._acts.under_way

    @property
    def waiting(self) -> tuple[str | None, float]:
        """Why every question waits, in words, and for how many seconds; None and 0 if none does."""
        return self._waiting_for, max(self._next_at - self._clock.monotonic(), 0.0) if self._waiting_for is not None else 0.0

    def cancel(self, number: int, actor: str) -> Job:
        """End a job at a person's word. Raises KeyError."""
        job = self._jobs.get(number)
        if not job.over:
            self._jobs.end(job, Stop("cancelled", f"ended by {actor}"))
            self._wake.set()
        return job

    def stop(self) -> None:
        """End all jobs because the gateway stops."""
        self._jobs.end_all(Stop("gateway_stopped", "the gateway stopped: gateway reconcile --open begins anew"))

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                pause = await self.step()
                if pause != 0.0:
                    await self._clock.wait(self._wake, pause)
                    self._wake.clear()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the ways to the API; may be called twice."""
        for api in (*self._left_behind, *([self._api] if self._api is not None else [])):
            await api.aclose()
        self._left_behind.clear()

    async def step(self) -> float | None:
        """Ask the next question that is due. Return the seconds until another one may be; None if there is none."""
        while self._left_behind:
            await self._left_behind.pop().aclose()
        try:
            await self._acts.keep()
        except StoreError as error:
            self._say("warning", "reconcile.waits", "acts", error=str(error))
            return _STORE_SECONDS
        api, settings, now = self._api, self._settings, self._clock.monotonic()
        due_at = self._jobs.due_at()
        if api is None or settings is None or due_at is None:
            return None
        ready_at = max(self._next_at, due_at)
        if ready_at > now:
            return ready_at - now
        job = self._jobs.next(now)
        self._next_at, self._waiting_for = now + 1.0 / settings.rate, None
        question = job.take(now)
        try:
            reply = await api.ask(question.sr_uuid)
            if api is self._api:
                await self._take_in(settings, job, question, reply)
            else:  # a reload brought another key or URL meanwhile, so the answer says nothing about that
                self._keep(job, question)
        except StoreError as error:
            self._say("warning", "reconcile.waits", "store", error=str(error))
            self._wait(_STORE_SECONDS, "the database cannot be asked now")
            self._keep(job, question)
        except Exception:  # a bug must cost one request, and not the gateway
            self._log.exception("reconcile.bug", sr_uuid=question.sr_uuid)
            self._jobs.finish(
                job, Reconciled(sr_uuid=question.sr_uuid, result="failed", detail="a bug in the gateway; see its log")
            )
        self._jobs.changed(job)
        return 0.0

    async def _take_in(self, settings: Reconciling, job: Job, question: Question, reply: Reply) -> None:
        """Do what an answer asks for."""
        sr_uuid = question.sr_uuid
        if job.over:  # it was ended while the API answered
            return
        match reply:
            case Busy(detail=detail, after=after):
                self._back_off(detail, after)
                self._keep(job, question)
                return
            case Unanswered(detail=detail):
                self._back_off(detail)
                self._try_again(job, question, detail)
                return
            case Refused(status=status, detail=detail):
                self._refuse(status, detail)
                return
        self._failures = 0
        match reply:
            case NotFound():
                known = await self._known.state(settings.source, sr_uuid)
                self._jobs.finish(job, _finding(sr_uuid, "not_found", known, detail="Legitmark knows no such service request"))
            case Unusable(detail=detail):
                known = await self._known.state(settings.source, sr_uuid)
                self._jobs.finish(job, _finding(sr_uuid, "failed", known, detail=detail))
            case Current():
                await self._compare(settings, job, question, reply)

    async def _compare(self, settings: Reconciling, job: Job, question: Question, current: Current) -> None:
        known = await self._known.state(settings.source, question.sr_uuid)
        result: Result = compare(known, current)
        if result == "differs" and (
            question.doubted is None or not await self._announcements.differs(known, current, emit=settings.emit)
        ):
            if not job.over:
                job.last(Question(question.sr_uuid, doubted=current, due_at=self._clock.monotonic() + CONFIRM_SECONDS))
            return
        emitted = result == "differs" and settings.emit
        self._jobs.finish(job, _finding(question.sr_uuid, result, known, current, emitted=emitted))

    def _try_again(self, job: Job, question: Question, detail: str) -> None:
        """Ask again next, until the tries are used up. A job that nobody waits for then asks once more behind the others."""
        question.tries += 1
        if question.tries < MOST_TRIES:
            self._keep(job, question)
        elif job.by_itself and not question.put_back:
            if not job.over:
                job.last(Question(question.sr_uuid, put_back=True))
        else:
            self._jobs.finish(job, Reconciled(sr_uuid=question.sr_uuid, result="failed", detail=detail))

    def _keep(self, job: Job, question: Question) -> None:
        if not job.over:
            job.first(question)

    def _back_off(self, detail: str, after: float | None = None) -> None:
        self._failures += 1
        self._wait(backoff(self._failures, self._clock.jitter(), after), detail)
        self._say("warning", "reconcile.waits", "api", error=detail, failures=self._failures)

    def _wait(self, seconds: float, why: str) -> None:
        self._next_at, self._waiting_for = self._clock.monotonic() + seconds, why

    def _refuse(self, status: int, detail: str) -> None:
        """End everything: the API would refuse every other question, too, and might lock the key."""
        do = "set the API key that Legitmark shows ([reconcile] api_key, header, scheme), then gateway reload"
        self._set_refused(f"{detail}: {do}")
        self._log.error("reconcile.refused", status=status, error=detail, do=do)
        self._jobs.end_all(Stop("refused", f"the API refused the key ({detail}): {do}"))

    def _set_refused(self, why: str | None) -> None:
        self.refused = why
        self._metrics.reconcile_refused(why is not None)

    def _ready(self) -> Reconciling:
        if self._settings is None:
            raise CannotReconcile("the configuration has no [reconcile]: add it with url and api_key, then gateway reload")
        return self._settings

    async def _named(self, source: str, ids: Iterable[str]) -> dict[str, KnownState]:
        """Find the requests that texts stand for, each with what is known of it."""
        found: dict[str, KnownState] = {}
        for text in ids:
            if not text:
                raise ValueError("an id is not empty")
            uuids = await self._known.named(source, text) or ([text.lower()] if is_uuid(text) else [])
            if not uuids:
                raise UnknownRequest(f'no service request has the id "{text}": name one that never came by its whole uuid')
            for sr_uuid in uuids:
                if sr_uuid not in found:
                    found[sr_uuid] = await self._known.state(source, sr_uuid) or KnownState(sr_uuid=sr_uuid)
        return found

    def _begin(self, requests: Sequence[str], actor: str) -> Job:
        if self._jobs.is_full:  # several callers may have waited for the store
            raise CannotReconcile(f"{MOST_JOBS} reconciliations are under way already: wait for one of them")
        self._set_refused(None)  # a person asks to try again
        return self._add(requests, "person", actor)

    def _add(self, requests: Sequence[str], trigger: Trigger, actor: str) -> Job:
        job = self._jobs.add(requests, trigger, actor)
        self._wake.set()
        return job


def _oldest_first(known: dict[str, KnownState]) -> list[str]:
    """Order requests by the instants of their states; those that never came are last, in the order in which they were named."""
    return sorted(known, key=lambda sr_uuid: (known[sr_uuid].at is None, known[sr_uuid].at or 0.0))


def _finding(
    sr_uuid: str,
    result: Result,
    known: KnownState | None,
    current: Current | None = None,
    *,
    emitted: bool = False,
    detail: str = "",
) -> Reconciled:
    reference = (known and known.reference_id) or (current and current.reference_id) or None
    if result == "differs" and current is not None:
        detail = differs_text(known, current)
    return Reconciled(
        sr_uuid=sr_uuid,
        reference_id=reference,
        result=result,
        known_state=known.state if known is not None else None,
        state=state_text(current.state) if current is not None else None,
        updated_at=current.updated_text if current is not None else None,
        emitted=emitted,
        detail=detail,
    )
