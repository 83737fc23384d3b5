"""The conditions of a selection on a message, as they stand behind WHERE, and the values that they compare with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.core.selection import MESSAGE_STATUSES, Selection
from gateway.store import bounds
from gateway.store.columns import milliseconds

_ID: Final = re.compile("[0-9a-f]{32}")
_BEGINNING: Final = re.compile("[0-9a-f]{0,32}")


class Values(list[object]):
    """The values of one statement."""

    def __call__(self, value: object) -> str:
        """Add a value, and return the place of it in the statement."""
        self.append(value)
        return f"${len(self)}"


def conditions(selection: Selection, seqs: Sequence[int] | None, values: Values, *, status: bool = False) -> str:
    """Return the conditions of a selection on a message `m`, and add their values.

    Args:
        status: also the condition on its status.
    """
    where = ""
    if seqs is not None:
        where += f" AND m.seq = ANY({values(list(seqs))}::bigint[])"
    if selection.source is not None:
        where += f" AND m.source = {values(findable(selection.source))}"
    for operator, instant in ((">=", selection.since), ("<", selection.until)):
        if instant is not None:
            where += f" AND m.received_ms {operator} {values(milliseconds(instant))}"
    if status and selection.status is not None:
        where += of_status(selection.status)
    return where


def of_status(status: str) -> str:
    """Return the condition on the status of a message `m`: a literal, because an index has only some of them."""
    assert status in MESSAGE_STATUSES
    # Said twice: PostgreSQL takes the index of the other statuses if the condition of the index is there.
    return f" AND m.status = '{status}'" + ("" if status == "accepted" else " AND m.status <> 'accepted'")


def window(selection: Selection) -> tuple[int, int]:
    """Return the window of time of a selection: from a millisecond on, and up to before another one."""
    since, until = selection.since, selection.until
    return 0 if since is None else milliseconds(since), bounds.END if until is None else milliseconds(until)


def findable(text: str) -> str:
    """Return a text that PostgreSQL takes: no text column has a NUL, so a text with one finds nothing either way."""
    return text.replace("\0", "\ufffd")


def whole_id(text: str) -> str | None:
    """Return the gateway's id of a message if this is one, else None: the column takes nothing else."""
    return text if _ID.fullmatch(text) else None


def ids_beginning(text: str) -> tuple[str, str] | None:
    """Return the least and the greatest id of the gateway that begin like this; None if none can."""
    return (text.ljust(32, "0"), text.ljust(32, "f")) if _BEGINNING.fullmatch(text) else None
