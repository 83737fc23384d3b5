"""`/act?do=...`: says what an act would change, and does it. Everything that people do in a browser comes here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from gateway.control.act_jobs import JobAct, SampleSent, TooManyJobs
from gateway.control.bulk_acts import BulkAct, Counted, Order
from gateway.control.drills import Drill, Drilled
from gateway.control.ids import Unknown
from gateway.control.sampling import Sample
from gateway.core.named_requests import NamedRequests
from gateway.core.samples import SAMPLES
from gateway.core.selection import DELIVERY_STATES, MESSAGE_STATUSES, Selection
from gateway.web.pages.asking import Asked, Control, Elsewhere, Mistake, NotThere
from gateway.web.pages.hyperlinks import path_of
from gateway.web.pages.views.ask_legitmark import ask, can_be_asked
from gateway.web.pages.views.dead_page import group_json
from gateway.web.pages.views.parameters_read import instant_of, one_of

BULK: Final[tuple[BulkAct, ...]] = ("replay", "reroute", "discard")
SWITCHES: Final = ("pause", "resume", "probe")
"""Acts on a sink that take effect at once."""
DOINGS: Final = (*BULK, *SWITCHES, "drill", "sample", "ask")
CHOICE: Final = ("id", "sink", "to", "state", "status", "source", "since", "until", "group", "delivered", "event")
"""The parameters that say what an act is about."""
FIELDS: Final = ("do", *CHOICE, "token", "count", "died_until", "typed", "skip_late")
"""The fields of the form that does an act."""
_WAIT_SECONDS = 0.9
"""How long the answer to a form waits for the end of the act; then a page shows how far it is."""


class ActPage(Struct, frozen=True, kw_only=True):
    """An act that is about to be done."""

    do: str | None
    """The act; None if none was chosen."""
    about: Mapping[str, str]
    """The parameters that say what the act is about, as they were given."""
    counted: Counted | None = None
    """The deliveries that it would change; None if it changes none by itself."""
    group: Mapping[str, Any] | None = None
    """The group of dead deliveries that it is about; None if it is about none, or if that has gone."""
    waiting: int | None = None
    """How many deliveries the sink has queued; None if that is not known, or is not asked."""
    died_until: float | None = None
    named: NamedRequests | None = None
    """The service requests that its id stands for; None if it has no id."""
    sources: Sequence[str] = ()

    @property
    def samples(self) -> Sequence[str]:
        """The names of the samples."""
        return tuple(SAMPLES)

    @property
    def asks_number(self) -> bool:
        """True if the number has to be typed before anything is done."""
        return self.do == "discard"


async def confirm(control: Control, asked: Asked) -> ActPage:
    """Find what an act would change."""
    given = asked.query
    about = {name: given[name] for name in CHOICE if name in given}
    do = one_of(given, "do", DOINGS)
    if do is None:
        return ActPage(do=None, about=about)
    if do in SWITCHES or do == "drill":
        sink = _sink_of(control, given)
        counts = {one.sink: one.counts.queued for one in await control.browse.sinks()}
        return ActPage(do=do, about=about, waiting=counts.get(sink))
    if do == "sample":
        return ActPage(do=do, about=about, sources=control.acts.sampling.sources)
    if do == "ask":
        await can_be_asked(control, given)
        return ActPage(do=do, about=about)
    died_until = asked.now if "group" in given else None
    order = _order(asked, given, died_until)
    group = None
    if order.group is not None and order.selection.sink is not None:
        found = await control.acts.bulk.group(order.selection.sink, order.group)
        group = None if found is None else group_json(found)
    try:
        counted = await control.acts.bulk.count(order)
        named = await control.browse.requests_named(given["id"]) if "id" in given else None
    except Unknown as error:
        raise NotThere(given.get("to") or given.get("sink") or "") from error
    except ValueError as error:
        raise Mistake(str(error)) from None
    return ActPage(do=do, about=about, counted=counted, group=group, died_until=died_until, named=named)


async def perform(control: Control, asked: Asked) -> Elsewhere:
    """Do an act, once for each form."""
    form, do = asked.form, one_of(asked.form, "do", DOINGS)
    if do is None or not form.get("token"):
        raise Mistake("the form lacks its act or its token: open its page again")
    try:
        if do in SWITCHES:
            return await _switch(control, asked, do, _sink_of(control, form))
        if do == "ask":
            return await ask(control, asked, _WAIT_SECONDS)
        about = {name: form[name] for name in CHOICE if name in form}
        if do == "drill":
            drill = Drill(sink=_sink_of(control, form), event=form.get("event", "authentic"), actor=asked.visitor.acting())
            return await _begin(control, asked, "drill", about, _drilled(control, drill))
        if do == "sample":
            sample = Sample(event=form.get("event", "authentic"), source=form.get("source"), actor=asked.visitor.acting())
            return await _begin(control, asked, "sample", about, _sampled(control, sample))
        return await _bulk(control, asked, about)
    except TooManyJobs as error:
        raise Mistake(str(error)) from None


async def _bulk(control: Control, asked: Asked, about: Mapping[str, str]) -> Elsewhere:
    form = asked.form
    died_until = float(form["died_until"]) if _is_number(form.get("died_until", "")) else None
    order = _order(asked, form, died_until)
    count = int(form["count"]) if form.get("count", "").isdecimal() and len(form["count"]) <= 18 else None
    if order.act == "discard" and (count is None or form.get("typed", "").strip().replace(",", "") != str(count)):
        raise Mistake("a discard ends deliveries for good: go back, and type the number of deliveries that it is to end")
    if "group" in form and died_until is None:
        raise Mistake("the form lacks the time up to which deliveries were counted: open its page again")
    return await _begin(control, asked, order.act, about, control.acts.bulk.steps(order), total=count)


async def _begin(
    control: Control,
    asked: Asked,
    act: JobAct,
    about: Mapping[str, str],
    work: AsyncIterator[Any],
    total: int | None = None,
) -> Elsewhere:
    jobs = control.acts.jobs
    job = jobs.begin(asked.form["token"], act, about, lambda: work, actor=asked.visitor.acting(), total=total)
    await jobs.wait(job, _WAIT_SECONDS)
    return Elsewhere("/acts", {"job": job.id})


async def _switch(control: Control, asked: Asked, do: str, sink: str) -> Elsewhere:
    interventions, actor = control.acts.interventions, asked.visitor.acting()
    match do:
        case "pause":
            await interventions.pause(sink, actor)
        case "resume":
            await interventions.resume(sink, actor)
        case _:
            await interventions.probe(sink, actor)
    return Elsewhere(path_of("sinks", sink))


async def _drilled(control: Control, drill: Drill) -> AsyncIterator[Drilled]:
    for one in await control.acts.drills.run(drill):
        yield one


async def _sampled(control: Control, sample: Sample) -> AsyncIterator[SampleSent]:
    yield SampleSent((await control.acts.sampling.send(sample)).id)


def _sink_of(control: Control, given: Mapping[str, str]) -> str:
    """Return the sink of the configuration that is named."""
    if (sink := given.get("sink")) is None:
        raise Mistake('"sink" names the sink')
    if sink not in control.config().sinks:
        raise NotThere(sink)
    return sink


def _order(asked: Asked, given: Mapping[str, str], died_until: float | None) -> Order:
    act = next(one for one in BULK if one == given["do"])
    named = [name for name in ("id", "group", "state", "status", "sink", "since", "until") if name in given]
    if not named:
        raise Mistake("nothing is chosen: an act needs an id, a sink, a state, a status, or a time")
    if "group" in given and ("sink" not in given or {"id", "status", "since", "until", "to", "source"} & given.keys()):
        raise Mistake('a "group" of dead deliveries is chosen by its "sink", and by nothing else')
    selection = Selection(
        id=given.get("id"),
        state=_state(given),
        sink=given.get("sink"),
        status=next((one for one in MESSAGE_STATUSES if one == one_of(given, "status", MESSAGE_STATUSES)), None),
        source=given.get("source"),
        since=instant_of(given, "since", asked.now),
        until=instant_of(given, "until", asked.now),
    )
    return Order(
        act=act,
        selection=selection,
        group=given.get("group"),
        died_until=died_until,
        to=given.get("to"),
        delivered=one_of(given, "delivered", ("true", "false")) == "true",
        skip_late=given.get("skip_late") == "true",
        actor=asked.visitor.acting(),
    )


def _state(given: Mapping[str, str]) -> Any:
    return one_of(given, "state", DELIVERY_STATES)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
