"""The jobs that are under way, and the last ones that ended. It writes down what came of each request: audit log and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.audit_events import ReconcileFinished, ReconcileStopped, SrDiffers, SrNotFound
from gateway.core.reconciliation import Result, Trigger
from gateway.core.values import claim_of
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.reconcile.asked_acts import AskedActs
from gateway.reconcile.jobs import Job, Reconciled, Stop

MOST_JOBS = 16
"""Jobs that are under way at once."""
_MOST_ENDED = 8
"""Ended jobs whose findings can still be read."""
_MOST_ALONE = 200
"""Jobs of people with one request whose outcome can be read by that request."""
_AUDITED: dict[Result, type[SrDiffers | SrNotFound]] = {"differs": SrDiffers, "not_found": SrNotFound}


class JobList:
    def __init__(self, *, acts: AskedActs, audit: AuditLog, metrics: Metrics, clock: Clock) -> None:
        self._acts = acts
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._running: list[Job] = []
        self._ended: list[Job] = []
        self._alone: dict[str, Job] = {}
        """The last job of a person for each request that was asked for alone, the newest last."""
        self._number = 0
        self.changes = 0
        """A number that is another one after each change of a job with one request, which pages show."""

    @property
    def is_full(self) -> bool:
        return len(self._running) >= MOST_JOBS

    @property
    def has_one_by_itself(self) -> bool:
        """True if a job is under way that no person asked for."""
        return any(job.by_itself for job in self._running)

    def add(self, requests: Sequence[str], trigger: Trigger, actor: str) -> Job:
        """Begin a job for the requests, in their order. It is over at once if none of them can be asked for."""
        self._number += 1
        job = Job(self._number, requests, trigger=trigger, actor=actor, now=self._clock.now())
        self._running.append(job)
        self.changed(job)
        if job.alone is not None and not job.by_itself:
            self._alone.pop(job.alone, None)
            self._alone[job.alone] = job
            if len(self._alone) > _MOST_ALONE:  # at most MOST_JOBS of them are under way
                del self._alone[next(one for one, old in self._alone.items() if old.over)]
        self._acts.note(job)
        for sr_uuid in job.refused:
            self._note(job, Reconciled(sr_uuid=sr_uuid, result="failed", detail="the API takes only uuids, and this is none"))
        if not job.left:
            self.end(job)
        self._count()
        return job

    def all(self) -> list[Job]:
        """Return the jobs that are under way, and the last ones that ended; the newest last."""
        return sorted([*self._ended, *self._running], key=lambda job: job.number)

    def get(self, number: int) -> Job:
        """Return a job. Raises KeyError if there is none with this number, or it ended long ago."""
        for job in (*self._running, *self._ended):
            if job.number == number:
                return job
        raise KeyError(f"reconciliation with the number {number}")

    def about(self, sr_uuid: str) -> Job | None:
        """Return the last job of a person for this request alone; None if there was none lately."""
        return self._alone.get(sr_uuid)

    def due_at(self) -> float | None:
        """Return when the next question of any job is due, in monotonic seconds; None if there is none."""
        return min((at for job in self._running if (at := job.due_at()) is not None), default=None)

    def next(self, now: float) -> Job:
        """Return the job whose question comes next. One question has to be due.

        People's jobs come first, and of those the ones for a single request, whose answer somebody looks for; then the oldest.
        """
        due = [job for job in self._running if (at := job.due_at()) is not None and at <= now]
        return min(due, key=lambda job: (job.by_itself, job.alone is None, job.number))

    def finish(self, job: Job, finding: Reconciled) -> None:
        """Take down what came of a request, and end the job with the last one."""
        if job.over:
            return
        self._note(job, finding)
        if not job.left:
            self.end(job)
        self._count()

    def end(self, job: Job, stopped: Stop | None = None) -> None:
        """End a job that is under way; `stopped` says why, if requests are left."""
        said = job.summary()
        job.end(self._clock.now(), stopped)
        self._running.remove(job)
        self._ended = [*self._ended, job][-_MOST_ENDED:]
        self._acts.note(job)
        self.changed(job)
        event, detail = (ReconcileFinished, said) if stopped is None else (ReconcileStopped, f"{said}; {stopped.detail}")
        self._audit.step(
            event(sr_uuid=job.alone, detail=detail, count=job.total, actor=str(job.actor), claimed=claim_of(job.actor))
        )
        self._count()

    def changed(self, job: Job) -> None:
        """Count a change of a job, for the pages that show it."""
        if job.alone is not None:
            self.changes += 1

    def end_all(self, stopped: Stop) -> None:
        """End all jobs that are under way."""
        for job in list(self._running):
            self.end(job, stopped)

    def _note(self, job: Job, finding: Reconciled) -> None:
        job.note(finding)
        self._metrics.reconciled(finding.result)
        if finding.result in _AUDITED:
            event = _AUDITED[finding.result]
            self._audit.step(
                event(
                    sr_uuid=finding.sr_uuid,
                    reference_id=finding.reference_id,
                    detail=finding.detail,
                    actor=str(job.actor),
                    claimed=claim_of(job.actor),
                )
            )

    def _count(self) -> None:
        self._metrics.reconcile_left(sum(job.left for job in self._running))
