"""The lines of a log that prove something about a message: the same ones, however many lines are looked at together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence_file import LineRecord, SealRecord
from gateway.core.log_prover import LogProver
from gateway.core.merkle import leaf_hash, root_by, root_of
from gateway.core.seals import MOST_COVERED, read_seal, with_seal

WANTED, OTHER = "a" * 32, "b" * 32


def line_about(message_id: str, number: int) -> bytes:
    return b'{"v":1,"time":"2026-03-01T00:00:00.000Z","event":"message.accepted","message_id":"%b","attempt":%d}' % (
        message_id.encode(),
        number,
    )


def sealed(kinds: Sequence[str]) -> list[bytes]:
    """A log with a line for each word: about a message, or a seal over the lines since the last one."""
    lines: list[bytes] = []
    covered: list[bytes] = []
    number = 0
    for place, kind in enumerate(kinds):
        if kind == "seal":
            number += 1
            root = root_of([leaf_hash(line) for line in covered]).hex()
            values = b'"number":%d,"lines":%d,"root":"%b"' % (number, len(covered), root.encode())
            lines.append(with_seal(b'{"v":1,"time":"2026-03-01T00:00:00.000Z","event":"audit.sealed",%b}' % values)[0])
            covered = []
        else:
            line = line_about(kind, place)
            lines.append(line)
            covered.append(line)
    return lines


def found(log: Sequence[bytes], at_once: int, head: int = 0) -> list[LineRecord | SealRecord]:
    prover = LogProver([WANTED], head)
    records = [record for at in range(0, len(log), at_once) for record in prover.add(log[at : at + at_once])]
    return records if prover.ended else [*records, *prover.rest()]


@given(st.lists(st.sampled_from([WANTED, OTHER, OTHER, "seal"]), max_size=60), st.integers(2, 70), st.integers(0, 4))
def test_what_is_found_does_not_depend_on_how_many_lines_are_looked_at_together(
    kinds: list[str], at_once: int, head: int
) -> None:
    log = sealed(kinds)
    one_by_one = found(log, 1, head)
    assert found(log, at_once, head) == one_by_one
    seals = [read_seal(line) for line in log]
    last = next((at for at, seal in enumerate(seals) if seal is not None and seal.number == head), len(log))
    about = [one.line for one in one_by_one if isinstance(one, LineRecord)]
    assert about == [line.decode() for line in log[: last + 1] if WANTED.encode() in line]


@given(st.lists(st.sampled_from([WANTED, OTHER, OTHER, "seal"]), max_size=60), st.integers(1, 70))
def test_each_line_before_a_seal_is_proven_by_it(kinds: list[str], at_once: int) -> None:
    log = sealed(kinds)
    seals = {seal.number: seal for line in log if (seal := read_seal(line)) is not None}
    last = max((at for at, line in enumerate(log) if read_seal(line) is not None), default=-1)
    for one in found(log, at_once):
        if isinstance(one, LineRecord):
            assert (one.seal is not None) is (log.index(one.line.encode()) < last)
            if one.seal is not None and one.index is not None:
                path = [bytes.fromhex(part) for part in one.path]
                seal = seals[one.seal]
                root = root_by(path, leaf_hash(one.line.encode()), one.index, seal.lines)
                assert root is not None and root.hex() == seal.root


@pytest.mark.parametrize("text", [OTHER, "x" * 2000], ids=["short", "long"])
def test_lines_that_wait_for_a_seal_are_hashed_before_they_fill_the_memory_and_are_proven_all_the_same(text: str) -> None:
    kinds = [text] * 9_000
    kinds[4_711] = WANTED
    (line, seal) = found(sealed([*kinds, "seal"]), 200)
    assert isinstance(line, LineRecord) and isinstance(seal, SealRecord)
    assert (line.seal, line.index) == (1, 4_711)


def test_a_line_that_no_seal_can_prove_any_more_does_not_wait_for_one() -> None:
    prover = LogProver([WANTED])
    assert list(prover.add([line_about(WANTED, 0)])) == []
    other = [line_about(OTHER, 0)] * 1000
    records = [record for _ in range(MOST_COVERED // 1000 + 1) for record in prover.add(other)]
    assert [type(one) for one in records] == [LineRecord] and list(prover.rest()) == []
