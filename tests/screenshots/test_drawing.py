"""The drawing of a Slack message leaves nothing out."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest

from tests.screenshots.drawing import draw
from tests.screenshots.render import GOLDEN
from tests.sinks.slack_side import texts


@pytest.mark.parametrize("path", sorted((GOLDEN / "slack").rglob("*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_golden_message_can_be_drawn_with_all_its_words(path: Path) -> None:
    for message in json.loads(path.read_bytes()).values():
        drawn = unescape(draw(message))
        assert all(text["text"] in drawn for text in texts(message["blocks"]))


def test_an_unknown_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="carousel"):
        draw({"text": "x", "blocks": [{"type": "carousel"}]})
