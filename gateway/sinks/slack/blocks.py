"""What Slack shows of a telling: blocks for the eye, a text for notifications and screen readers.

The texts of a payload stand in `plain_text` and in rich text, where Slack looks for no markup, and escaped in the message's own
text. Everything is cut to what Slack takes, which refuses a message that is longer (docs.slack.dev, "Block Kit").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.sinks.text.language import Labels, Photo, Telling, filled

Block = dict[str, Any]

_HEADER = 150
_SECTION = 600
_ROW = 350
_OPEN = 75
_LINK = 3000
_CONTEXT = 300
_SIDE = 100
_REASON = 400
_GUIDANCE = 900
"""Characters of one photo's texts."""
_PHOTOS = 2000
"""Characters of all of them. Beside the limits of each block, Slack refuses blocks of about 13,200 in all
(`msg_blocks_too_long`), which stands in no document of its."""
_MOST_PHOTOS = 20
_MRKDWN = 3000
_MOST_SECTIONS = 3
_HALF_ENTITY = re.compile(r"&(?!amp;|lt;|gt;)[a-z]{0,3}…$")


def whole(telling: Telling, labels: Labels) -> list[Block]:
    """A message that stands alone, or begins a thread."""
    names = labels.facts
    known = ((names["item"], telling.reference), (names["sr"], telling.short_sr), (names["when"], telling.when))
    rows = telling.facts if telling.notice else (*known, (names["reason"], telling.reason))
    blocks: list[Block] = [{"type": "header", "text": _plain(f"{telling.emoji} {telling.headline}", _HEADER, emoji=True)}]
    if telling.advice:
        blocks.append({"type": "section", "text": _plain(telling.advice, _SECTION)})
    blocks += _rich(_rows(rows, labels), telling.photos, labels)
    return [*blocks, *_link(telling, labels), *_foot(telling, labels)]


def reply(telling: Telling, labels: Labels) -> list[Block]:
    """A message below the first one of its thread, which says what it is about."""
    said = [_text(cut(f"{telling.emoji} {telling.headline}", _HEADER), bold=True)]
    if telling.advice:
        said.append(_text(cut(f"\n{telling.advice}", _SECTION)))
    rows = _rows(((labels.facts["reason"], telling.reason), (labels.facts["when"], telling.when)), labels)
    return [*_rich([*said, *([_text("\n")] if rows else []), *rows], telling.photos, labels), *_foot(telling, labels)]


def written(text: str, telling: Telling, labels: Labels, *, link: bool) -> list[Block]:
    """What an operator's own template wrote: its markup counts, since the values in it are escaped."""
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": True}} for part in _sections(text)]
    return [*sections, *(_link(telling, labels) if link else []), *_foot(telling, labels)]


def whole_entities(text: str) -> str:
    """Without the beginning of an escaped character at a cut."""
    return _HALF_ENTITY.sub("…", text)


def shortened(text: str, most: int) -> str:
    """An escaped text of at most so many characters, never cut inside an escape."""
    return whole_entities(cut(text, most))


def cut(said: str, most: int) -> str:
    """Cut a text to so many characters, as Slack counts them; one that was cut ends in "…"."""
    if units(said) <= most:
        return said
    return said.encode("utf-16-le")[: 2 * (most - 1)].decode("utf-16-le", "ignore") + "…"


def units(said: str) -> int:
    """Its length in UTF-16, where an emoji counts two: nowhere does Slack say how it counts, and this is the most it can be."""
    return len(said.encode("utf-16-le")) // 2


def _rich(said: list[Block], photos: Sequence[Photo], labels: Labels) -> list[Block]:
    elements: list[Block] = [{"type": "rich_text_section", "elements": said}] if said else []
    if photos:
        title = _text(f"\n{labels.words.photos}" if said else labels.words.photos, bold=True)
        elements.append({"type": "rich_text_section", "elements": [title]})
        items = [{"type": "rich_text_section", "elements": item} for item in _photos(photos, labels)]
        elements.append({"type": "rich_text_list", "style": "bullet", "elements": items})
    return [{"type": "rich_text", "elements": elements}] if elements else []


def _rows(rows: Sequence[tuple[str, str | None]], labels: Labels) -> list[Block]:
    """Names and values, a line each; those without a value are left out."""
    found: list[Block] = []
    for name, value in rows:
        if value:
            before = "\n" if found else ""
            found += [_text(f"{before}{name}{labels.words.separator}", bold=True), _text(cut(value, _ROW))]
    return found


def _photos(photos: Sequence[Photo], labels: Labels) -> Iterator[list[Block]]:
    """The elements of one line each: its side, why, and what to do."""
    parts = [_parts(photo, labels) for photo in photos]
    kept = _number_that_fits([sum(map(units, texts)) for texts in parts[:_MOST_PHOTOS]], _PHOTOS)
    for side, reason, guidance in parts[:kept]:
        between = labels.words.separator if reason else ""
        line = [_text(f"{side}{between}", bold=True), *([_text(reason)] if reason else [])]
        yield [*line, _text(f" — {guidance}")] if guidance else line
    if kept < len(parts):
        yield [_text(filled(labels.words.more, {"count": str(len(parts) - kept)}))]


def _sections(text: str) -> list[str]:
    """Split a text at its lines into pieces that a section takes; what does not fit into three of them is cut."""
    found = [""]
    for line in text.split("\n"):
        piece = shortened(line, _MRKDWN)
        if found[-1] and units(found[-1]) + 1 + units(piece) <= _MRKDWN:
            found[-1] += f"\n{piece}"
        elif piece.strip():
            found += [piece]
    return [piece for piece in found if piece.strip()][:_MOST_SECTIONS]


def _link(telling: Telling, labels: Labels) -> list[Block]:
    """A link, since a button with a URL shows a warning at each click that no app acknowledges, and none here could
    (docs.slack.dev/reference/block-kit/block-elements/button-element: "url")."""
    if telling.link is None or units(telling.link) > _LINK:  # one that is cut would lead elsewhere
        return []
    link = {"type": "link", "url": telling.link, "text": cut(labels.words.open, _OPEN)}
    return [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [link]}]}]


def _parts(photo: Photo, labels: Labels) -> tuple[str, str, str]:
    side = photo.side or labels.words.photo
    return cut(side, _SIDE), cut(photo.reason, _REASON), cut(photo.guidance, _GUIDANCE)


def _foot(telling: Telling, labels: Labels) -> list[Block]:
    """The message's id, which a person gives to `gateway show`; a notice names another one, and its own says nothing."""
    if telling.notice:
        return []
    said = f"{labels.facts['message']}{labels.words.separator}{telling.message_id}"
    return [{"type": "context", "elements": [_plain(said, _CONTEXT)]}]


def _plain(said: str, most: int, *, emoji: bool = False) -> Block:
    return {"type": "plain_text", "text": cut(said, most), "emoji": emoji}


def _text(said: str, **style: bool) -> Block:
    return {"type": "text", "text": said, **({"style": style} if style else {})}


def _number_that_fits(sizes: Sequence[int], room: int) -> int:
    """How many, from the first on, take no more than the room."""
    for number, size in enumerate(sizes):
        room -= size
        if room < 0:
            return number
    return len(sizes)
