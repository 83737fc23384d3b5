"""The views behind the button [Evidence]: what is asked for, under which name it is saved, and each refusal as a page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from gateway.control.evidence_files import NoEvidence, WhyNone
from gateway.core.users import Role, Visitor
from gateway.web.pages.asking import Asked, CannotAnswer, Elsewhere, EvidenceDownload, NotThere
from gateway.web.pages.catalogue import LOCALES, catalogue
from gateway.web.pages.views.evidence_page import STATUSES, message_evidence, request_evidence
from tests.fakes import START

SR = "b16c763b-0000-4000-8000-000000000001"


class World:
    """A gateway that knows one service request and one message, and begins every file, or none."""

    def __init__(self, sr_uuid: str = SR, reference_id: str | None = None, why: WhyNone | None = None) -> None:
        self.begun: list[str] = []
        self.requests = self.browse = self.evidence = self
        self._known = SimpleNamespace(sr_uuid=sr_uuid, reference_id=reference_id)
        self._why = why

    async def find(self, name: str) -> Any:
        return SimpleNamespace(requests=(self._known,))

    async def message(self, name: str) -> Any:
        if name == "several":
            raise ValueError
        story = SimpleNamespace(ids=SimpleNamespace(id="0" * 32))
        return None if name == "nobody" else SimpleNamespace(shown=SimpleNamespace(story=story))

    async def begin(self, asked: str) -> str:
        if self._why is not None:
            raise NoEvidence(self._why, "the detail")
        self.begun.append(asked)
        return "an export"


def asked(name: str) -> Asked:
    return Asked(path="/", names=(name,), visitor=Visitor("ann", Role.READ, "token"), now=START)


@pytest.mark.parametrize("why", get_args(WhyNone))
async def test_each_reason_why_there_is_no_file_has_a_status_and_words_in_each_language(why: WhyNone) -> None:
    world: Any = World(why=why)
    for view, name in ((request_evidence, SR), (message_evidence, "msg_1")):
        with pytest.raises(CannotAnswer) as refused:
            await view(world, asked(name))
        assert (refused.value.kind, refused.value.status, refused.value.detail) == (why, STATUSES[why], "the detail")
    words = [catalogue(language).text(f"problem.{why}{end}", detail="x") for language in LOCALES for end in ("", "_do")]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("sr_uuid", "reference_id", "file"),
    [
        (SR, "ITEM-1042", "ITEM-1042"),
        (SR, None, SR),
        (SR, "バッグ-0042", SR),
        (SR, '"; filename="x', SR),
        (SR, "../../etc/passwd", SR),
        (SR, "x" * 81, SR),
        ('a"\r\nb/../c.sh', None, "a-b-c-sh"),
        ("バッグ", None, "request"),
    ],
)
async def test_a_file_has_the_name_that_people_know_and_only_what_is_fit_for_one(
    sr_uuid: str, reference_id: str | None, file: str
) -> None:
    world: Any = World(sr_uuid, reference_id)
    download = await request_evidence(world, asked(sr_uuid))
    assert (download.file, world.begun) == (f"{file}.evidence.jsonl", [sr_uuid])


@pytest.mark.parametrize("name", ["", " ", SR[:8]])
async def test_a_service_request_is_asked_for_by_its_whole_uuid(name: str) -> None:
    world: Any = World()
    with pytest.raises(NotThere):
        await request_evidence(world, asked(name))
    assert world.begun == []


async def test_an_id_of_a_message_leads_to_that_one_to_a_list_or_nowhere() -> None:
    world: Any = World()
    assert isinstance(await message_evidence(world, asked("msg_1")), EvidenceDownload) and world.begun == ["0" * 32]
    assert await message_evidence(world, asked("several")) == Elsewhere("/messages", {"id": "several"})
    for name in ("nobody", " "):
        with pytest.raises(NotThere):
            await message_evidence(world, asked(name))
