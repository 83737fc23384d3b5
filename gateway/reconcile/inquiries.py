"""Lets people ask Legitmark's API about one service request at its page, and tells how far that is and what came of it.

A question goes on when its page is closed. The gateway forgets it at its end; the list of acts keeps what came of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, structs

from gateway.core.ledger import state_text
from gateway.core.reconciliation import is_uuid
from gateway.core.routing import RECONCILE
from gateway.core.values import claim_of
from gateway.host.clock import Clock
from gateway.reconcile.jobs import Job, Outcome
from gateway.reconcile.reconciler import Reconciler

_MOST_FORMS = 1000
"""Forms that are known again when they are sent twice."""

Standing = Literal["asking", "waiting", "confirming", Outcome]
"""How far a question is, or what came of it. `waiting`: the API made the gateway wait; `confirming`: the answer disagreed, and
the question is put once more."""


class Inquiry(Struct, frozen=True, kw_only=True):
    """A question about one service request, as people see it."""

    standing: Standing
    actor: str
    claimed: str | None
    began_at: datetime
    ended_at: datetime | None
    state: str | None = None
    """The state that the API told."""
    known_state: str | None = None
    """The state that the gateway knew when the answer came; None if it knew none, or before the end."""
    updated_at: str | None = None
    """When the API says that the request changed last, as it wrote it."""
    next_at: datetime | None = None
    """When the question is put again; None if it has its turn, or has ended."""
    detail: str = ""
    """The words of the API or of the network, or advice; "" if the standing says everything."""


class Begun(Struct, frozen=True):
    """A question that somebody put at a page, and its job."""

    job: Job
    already: bool
    """The question was under way before, so nothing was begun."""


class Inquiries:
    """The questions of people about one service request each."""

    def __init__(self, reconciler: Reconciler, clock: Clock) -> None:
        self._reconciler = reconciler
        self._clock = clock
        self._by_form: dict[tuple[str, str], Begun] = {}

    def possible(self, sr_uuid: str, source: str) -> bool:
        """Return True if the API can be asked for a service request of this source."""
        settings = self._reconciler.settings
        return settings is not None and source in (settings.source, RECONCILE) and is_uuid(sr_uuid)

    async def ask(self, form: str, sr_uuid: str, *, actor: str, seconds: float) -> Begun:
        """Ask for a service request, and wait for the end of that for at most some seconds. It goes on afterwards.

        A form that is sent twice asks once, and a request that is being asked for is not asked for twice.

        Args:
            form: a text that is another one for each form that was shown.
        Raises CannotReconcile if nothing was begun.
        """
        if (begun := self._by_form.get((actor, form))) is None:
            before = self._reconciler.jobs.about(sr_uuid)
            already = before is not None and not before.over
            job = before if before is not None and already else self._reconciler.ask(sr_uuid, actor)
            begun = self._by_form[actor, form] = Begun(job, already)
            if len(self._by_form) > _MOST_FORMS:
                del self._by_form[next(iter(self._by_form))]
        await self._clock.wait(begun.job.ended, seconds)
        return begun

    def about(self, sr_uuid: str) -> Inquiry | None:
        """Return the last question about a service request, from a page or a command; None if there was none lately."""
        job = self._reconciler.jobs.about(sr_uuid)
        return None if job is None else self._shown(job)

    def _shown(self, job: Job) -> Inquiry:
        inquiry = Inquiry(
            standing=job.outcome or "asking",
            actor=str(job.actor),
            claimed=claim_of(job.actor),
            began_at=_instant(job.began_at),
            ended_at=None if job.ended_at is None else _instant(job.ended_at),
        )
        if not job.over:
            return self._with_progress(inquiry, job)
        if job.stopped is not None:
            return structs.replace(inquiry, detail=job.stopped.detail)
        (finding,) = job.findings
        return structs.replace(
            inquiry,
            state=finding.state,
            known_state=finding.known_state,
            updated_at=finding.updated_at,
            detail=finding.detail if finding.result == "failed" else "",
        )

    def _with_progress(self, inquiry: Inquiry, job: Job) -> Inquiry:
        why, seconds = self._reconciler.waiting
        doubt = job.doubt
        if doubt is not None and (current := doubt.doubted) is not None:
            return structs.replace(
                inquiry,
                standing="confirming",
                state=state_text(current.state),
                updated_at=current.updated_text,
                next_at=self._in(max(doubt.due_at - self._clock.monotonic(), seconds)),
                detail=why or "",
            )
        if why is not None:
            return structs.replace(inquiry, standing="waiting", next_at=self._in(seconds), detail=why)
        return inquiry

    def _in(self, seconds: float) -> datetime:
        return _instant(round(self._clock.now() + max(seconds, 0.0)))


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
