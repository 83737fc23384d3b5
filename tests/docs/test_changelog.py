"""The changelog has the form of keepachangelog.com, version 1.1.0."""

from __future__ import annotations

import re

from gateway import __version__
from tests.docs.reading import ROOT, text_of

TEXT = text_of(ROOT / "CHANGELOG.md")
GROUPS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_unreleased_changes_come_first_and_then_the_versions_newest_first() -> None:
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    dates = []
    for heading in headings[1:]:
        version = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)(?: \[YANKED\])?", heading)
        assert version is not None, heading
        dates.append(version[2])
    assert dates == sorted(dates, reverse=True)


def test_each_version_has_the_known_groups_in_their_order() -> None:
    for version in TEXT.split("\n## ")[1:]:
        groups = re.findall(r"^### (.+)$", version, re.MULTILINE)
        assert groups == [group for group in GROUPS if group in groups]
        assert "\n#### " not in version


def test_a_version_that_was_released_stands_in_it() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", TEXT, re.MULTILINE)
    assert not released or released[0] == __version__
