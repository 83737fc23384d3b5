"""Asks Legitmark's API about one service request, and leads back to its page, which shows what comes of it."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.request_documents import KnownRequest
from gateway.reconcile.reconciler import CannotReconcile
from gateway.web.pages.asking import Asked, Control, Elsewhere, Mistake, NotThere
from gateway.web.pages.hyperlinks import path_of

ALREADY = "already"
"""The value of the parameter `asked` of the page, if the question was under way before."""


async def can_be_asked(control: Control, given: Mapping[str, str]) -> KnownRequest:
    """Return the request that the parameters name. Raises Mistake if the API cannot be asked for it."""
    name = given.get("id", "")
    if not name.strip():
        raise Mistake('"id" names the service request')
    found = (await control.requests.find(name, given.get("source"))).requests
    if len(found) != 1 or found[0].sr_uuid != name:
        raise NotThere(name)
    known = found[0]
    if not control.inquiries.possible(known.sr_uuid, known.source):
        raise Mistake("the API is asked only for requests of the source that [reconcile] names, if the configuration has it")
    return known


async def ask(control: Control, asked: Asked, seconds: float) -> Elsewhere:
    """Ask, and wait for the answer for at most some seconds."""
    form = asked.form
    known = await can_be_asked(control, form)
    try:
        begun = await control.inquiries.ask(form["token"], known.sr_uuid, actor=asked.visitor.acting(), seconds=seconds)
    except CannotReconcile as error:
        raise Mistake(str(error)) from None
    kept = {"source": form.get("source"), "asked": ALREADY if begun.already else None}
    return Elsewhere(path_of("sr", known.sr_uuid), {name: value for name, value in kept.items() if value is not None})
