"""A reconciliation that somebody asked for, and how far it is. It has at most as many requests as its caller may name."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct

from gateway.core.reconciliation import Current, Result, Trigger, is_uuid

_NEED_A_LOOK = ("differs", "not_found", "failed")
_WORDS: dict[Result, str] = {
    "same": "agree",
    "older": "answered older",
    "differs": "differ",
    "not_found": "not found",
    "failed": "failed",
}
Cause = Literal["refused", "cancelled", "unconfigured", "gateway_stopped"]
"""Why a job ended before it had asked for all its requests: the API refused the key, a person ended it, a reload took the
configuration away, or the gateway stopped."""

Outcome = Literal[Result, "emitted", Cause]
"""The outcome of a job with one request. `emitted`: it differs, and an event with the state of the API went to the routes."""


class Stop(Struct, frozen=True):
    """An end of a job before it had asked for all its requests."""

    cause: Cause
    detail: str
    """The event that ended it, and advice."""


class Question(Struct):
    """A service request that is to be asked for, and how often that was tried."""

    sr_uuid: str
    tries: int = 0
    """Questions in a row without a usable answer."""
    put_back: bool = False
    """It had its tries once, and waits for the others."""
    doubted: Current | None = None
    """The answer that disagreed, which this question confirms or not."""
    due_at: float = 0.0
    """Monotonic seconds."""


class Reconciled(Struct, frozen=True, kw_only=True):
    """The result for one service request."""

    sr_uuid: str
    reference_id: str | None = None
    result: Result
    known_state: str | None = None
    """The state that the gateway knew, such as `QC/PENDING`."""
    state: str | None = None
    """The state that the API told; None without a usable answer."""
    updated_at: str | None = None
    """When the API says that it changed last, as it wrote it."""
    emitted: bool = False
    """An event with this state went to the routes."""
    detail: str = ""


class JobFacts(Struct, frozen=True, kw_only=True):
    """A job as the admin API shows it."""

    job: int
    trigger: Trigger
    actor: str
    began_at: datetime
    ended_at: datetime | None
    total: int
    done: int
    same: int
    older: int
    differs: int
    not_found: int
    failed: int
    confirming: int
    """Requests that disagreed once, and are asked for again."""
    waiting_seconds: float
    """Seconds until the next question, if the API made the gateway wait."""
    waiting_for: str | None
    """Why it waits, in words."""
    stopped: str | None
    """Why it ended before all were asked for, and what to do; None if it did not."""


class Job:
    """Questions in an order, with the confirmations that come in between."""

    def __init__(self, number: int, requests: Sequence[str], *, trigger: Trigger, actor: str, now: float) -> None:
        """
        Args:
            now: Unix seconds.
        """
        self.number = number
        self.trigger = trigger
        self.actor = actor
        self.began_at = now
        self.ended_at: float | None = None
        self.ended = asyncio.Event()
        self.stopped: Stop | None = None
        self.findings: list[Reconciled] = []
        """The results in their order. A job that no person asked for keeps only those that need a look."""
        self._counts = Counter[Result]()
        self.refused = [sr_uuid for sr_uuid in requests if not is_uuid(sr_uuid)]
        """The requests that cannot be asked for: what they are called must not become a part of a URL."""
        self._asking = deque(Question(sr_uuid) for sr_uuid in requests if is_uuid(sr_uuid))
        self._confirming: deque[Question] = deque()
        """They stand in the order of their due times, since all of them wait equally long."""
        self.total = len(requests)
        self.alone = requests[0] if len(requests) == 1 else None
        """The only request of a job that has one."""

    @property
    def by_itself(self) -> bool:
        """True if no person asked for it."""
        return self.trigger != "person"

    @property
    def over(self) -> bool:
        return self.ended_at is not None

    @property
    def done(self) -> int:
        """How many requests have a result."""
        return self._counts.total()

    @property
    def left(self) -> int:
        """How many requests are neither answered nor given up."""
        return len(self._asking) + len(self._confirming)

    def due_at(self) -> float | None:
        """Return when its next question is due, in monotonic seconds; None if there is none."""
        if self._asking:
            return 0.0
        return self._confirming[0].due_at if self._confirming else None

    @property
    def doubt(self) -> Question | None:
        """The question that waits to confirm an answer, and is due first; None if there is none."""
        return self._confirming[0] if self._confirming else None

    def take(self, now: float) -> Question:
        """Take the next question: a confirmation that is due, or else the next request. There has to be one."""
        if self._confirming and self._confirming[0].due_at <= now:
            return self._confirming.popleft()
        return self._asking.popleft()

    def first(self, question: Question) -> None:
        """Put a question before all others of its kind."""
        (self._asking if question.doubted is None else self._confirming).appendleft(question)

    def last(self, question: Question) -> None:
        """Put a question behind all others of its kind."""
        (self._asking if question.doubted is None else self._confirming).append(question)

    def note(self, finding: Reconciled) -> None:
        """Take down a result."""
        self._counts[finding.result] += 1
        if not self.by_itself or finding.result in _NEED_A_LOOK:
            self.findings.append(finding)

    def end(self, now: float, stopped: Stop | None = None) -> None:
        """End the job, with a reason if requests are left."""
        self._asking.clear()
        self._confirming.clear()
        self.ended_at, self.stopped = now, stopped
        self.ended.set()

    def facts(self, waiting_seconds: float, waiting_for: str | None) -> JobFacts:
        """Describe it. The arguments say what the API makes the gateway wait for."""
        return JobFacts(
            job=self.number,
            trigger=self.trigger,
            actor=str(self.actor),
            began_at=_instant(self.began_at),
            ended_at=None if self.ended_at is None else _instant(self.ended_at),
            total=self.total,
            done=self.done,
            **{result: self._counts[result] for result in get_args(Result)},
            confirming=len(self._confirming),
            waiting_seconds=0.0 if self.over else round(waiting_seconds, 1),
            waiting_for=None if self.over else waiting_for,
            stopped=self.stopped.detail if self.stopped is not None else None,
        )

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of a job with one request that a person asked for; None while it goes on."""
        if not self.over:
            return None
        if self.stopped is not None:
            return self.stopped.cause
        return "emitted" if self.findings[0].emitted else self.findings[0].result

    def outcome_text(self) -> str:
        """Return the outcome as the list of acts keeps it: a word, and what the API told, if it told anything usable."""
        finding = self.findings[0] if self.findings else None
        told = (finding.state or finding.detail) if finding is not None and finding.result != "not_found" else ""
        return f"{self.outcome} {told}".strip()

    def summary(self) -> str:
        """Return its results in words."""
        parts = [f"{number:,} {words}" for result, words in _WORDS.items() if (number := self._counts[result])]
        return f"{self.done:,} of {self.total:,} asked{': ' if parts else ''}{', '.join(parts)}"


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
