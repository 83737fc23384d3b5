"""Every page, in the order of the navigation. The server, the tests and the pictures walk this table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.core.users import Role
from gateway.web.door.permissions import Permit
from gateway.web.pages.live_streams import LIVE_PATH, PLAY_LIVE_PATH
from gateway.web.pages.page import Page
from gateway.web.pages.views.act_page import CHOICE, FIELDS, confirm, perform
from gateway.web.pages.views.acts_page import act_list
from gateway.web.pages.views.dead_page import dead_list
from gateway.web.pages.views.evidence_page import message_evidence, request_evidence
from gateway.web.pages.views.find_page import find
from gateway.web.pages.views.message_list_page import message_list
from gateway.web.pages.views.message_page import one_message
from gateway.web.pages.views.overview_page import overview
from gateway.web.pages.views.play_page import caught, play
from gateway.web.pages.views.request_list_page import request_list
from gateway.web.pages.views.request_page import request_story
from gateway.web.pages.views.rules_page import rules, try_event
from gateway.web.pages.views.sink_page import one_sink
from gateway.web.play.pasted_secrets import SECRET_PATH

PAGES: Final[tuple[Page, ...]] = (
    Page(name="overview", path="/", view=overview, template="overview.html", in_navigation=True),
    Page(name="find", path="/find", view=find, template="find.html", query=("q",), live=False),
    Page(
        name="requests",
        path="/sr",
        view=request_list,
        template="requests.html",
        query=("state", "flag", "stalled", "source", "since", "until", "after"),
        in_navigation=True,
    ),
    Page(
        name="request",
        path="/sr/{sr_uuid}",
        view=request_story,
        template="request.html",
        query=("source", "before", "asked"),
        post=request_evidence,
        post_role=Role.READ,
    ),
    Page(
        name="messages",
        path="/messages",
        view=message_list,
        template="messages.html",
        query=("id", "status", "source", "since", "until", "before"),
        in_navigation=True,
    ),
    Page(
        name="message",
        path="/messages/{id}",
        view=one_message,
        template="message.html",
        query=("sink", "after", "raw"),
        post=message_evidence,
        post_role=Role.READ,
    ),
    Page(name="dead", path="/dead", view=dead_list, template="dead.html", query=("sink", "before"), in_navigation=True),
    Page(name="sink", path="/sinks/{name}", view=one_sink, template="sink.html"),
    Page(
        name="rules",
        path="/rules",
        view=rules,
        template="rules.html",
        query=("id", "sample", "source"),
        role=Role.READ,
        live=False,
        in_navigation=True,
        post=try_event,
        fields=("event", "source"),
        post_role=Role.READ,
    ),
    Page(
        name="acts",
        path="/acts",
        view=act_list,
        template="acts.html",
        query=("job", "before"),
        role=Role.READ,
        in_navigation=True,
    ),
    Page(
        name="act",
        path="/act",
        view=confirm,
        template="act.html",
        query=("do", *CHOICE),
        role=Role.OPERATE,
        live=False,
        post=perform,
        fields=FIELDS,
    ),
    Page(
        name="play",
        path="/play",
        view=play,
        template="play.html",
        query=("before", "wrong"),
        live_path=PLAY_LIVE_PATH,
        in_navigation=True,
    ),
    Page(name="caught", path="/play/{number}", view=caught, template="caught.html", live_path=PLAY_LIVE_PATH),
)


def page_permits() -> Iterator[Permit]:
    """Yield the least role of each page and of its twin, as the door looks them up."""
    yield from (Permit("GET", path, Role.SUPPORT) for path in (LIVE_PATH, PLAY_LIVE_PATH))
    yield Permit("POST", SECRET_PATH, Role.READ)  # it changes nothing but what the page says of signatures
    for page in PAGES:
        for path in (page.path, page.twin):
            yield Permit("GET", _pattern(path), page.role)
        if page.post is not None:
            yield Permit("POST", _pattern(page.path), page.post_role)


def page_at(path: str) -> tuple[Page, tuple[str, ...]] | None:
    """Return the page of a path with the texts that stand for its segments in braces; None if there is none."""
    for page in PAGES:
        if (names := page.names(path)) is not None:
            return page, names
    return None


def _pattern(path: str) -> str:
    """Return the path of a page as permits have it."""
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))
