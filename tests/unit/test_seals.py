"""A log whose lines were changed, dropped, added, swapped or cut off is told from one that was not, and the place is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.merkle import leaf_hash, root_of
from gateway.core.seals import LogCheck, LogPlace, is_seal, read_seal, with_seal


def line(number: int) -> bytes:
    return b'{"v":1,"time":"2026-03-01T00:00:%02d.000Z","event":"sink.closed","sink":"s%d"}' % (number % 60, number)


def seal_over(lines: list[bytes], number: int, before: str | None, read_back: int = 0) -> tuple[bytes, str]:
    root = root_of([leaf_hash(one) for one in lines]).hex()
    back = f'"read_back":{read_back},' if read_back else ""
    said = f'"before":"{before}"' if before is not None else ""
    fields = f'"number":{number},"lines":{len(lines)},{back}"root":"{root}"' + (f",{said}" if said else "")
    return with_seal(b'{"v":1,"time":"2026-03-01T00:00:00.000Z","event":"audit.sealed",%b}' % fields.encode())


def sealed_log(*sizes: int) -> list[bytes]:
    """A log of as many seals as there are sizes, each over so many lines."""
    log: list[bytes] = []
    before, made = None, 0
    for number, size in enumerate(sizes, 1):
        lines = [line(made + one) for one in range(size)]
        made += size
        text, before = seal_over(lines, number, before)
        log += [*lines, text]
    return log


def checked(lines: list[bytes]) -> LogCheck:
    check = LogCheck()
    for number, one in enumerate(lines, 1):
        check.add(one, LogPlace("audit.jsonl", number))
    check.finish()
    return check


def test_an_untouched_log_is_proven_to_its_last_seal() -> None:
    check = checked([*sealed_log(3, 1, 4), line(90), line(91)])
    assert (check.problems, check.lines, check.seals, check.proven) == ([], 10, 3, 8)
    assert check.notes == ["2 lines after the last seal: not sealed yet"]
    assert check.chain.last is not None and check.chain.last.number == 3


def test_a_line_that_a_sender_wrote_is_no_seal() -> None:
    assert not is_seal(
        b'{"v":1,"time":"2026-03-01T00:00:00.000Z","event":"message.accepted","x":"\\",\\"event\\":\\"audit.sealed\\",'
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda log: [*log[:1], log[1].replace(b"s1", b"s9"), *log[2:]], "audit.jsonl:1 to audit.jsonl:4: lines were changed or"),
        (lambda log: [log[1], log[0], *log[2:]], "audit.jsonl:1 to audit.jsonl:4: lines were changed or swapped"),
        (lambda log: [*log[:5], *log[6:]], "audit.jsonl:5 to audit.jsonl:7: 1 line dropped: seal 2 covers 3, and 2 are here"),
        (lambda log: [*log[:5], line(77), *log[5:]], "audit.jsonl:5 to audit.jsonl:9: lines were changed, added or swapped"),
        (lambda log: [*log[:4], line(77), *log[4:]], "audit.jsonl:5 to audit.jsonl:9: 1 line added, or lost"),
        (lambda log: [*log[:7], *log[8:]], "audit.jsonl:11: seal 2 dropped before this one"),
        (lambda log: [*log[:3], log[3].replace(b"00:00.000Z", b"00:01.000Z"), *log[4:]], "audit.jsonl:4: this seal was changed"),
        (lambda log: [*log[:8], *sealed_log(2)], "audit.jsonl:11: a new chain begins here, although seal 2 stands before it"),
        (lambda log: [*log[:3], log[7], *log[4:7], log[3], *log[8:]], "audit.jsonl:1 to audit.jsonl:4: lines were"),
    ],
    ids=[
        "changed",
        "swapped",
        "dropped",
        "added inside",
        "added in front",
        "a seal dropped",
        "a seal changed",
        "anew",
        "seals swapped",
    ],
)
def test_what_was_done_to_a_log_is_named_with_its_place(change, found: str) -> None:  # type: ignore[no-untyped-def]
    check = checked(change(sealed_log(3, 3, 3)))
    assert check.problems and any(str(one).startswith(found) for one in check.problems), check.problems


def test_a_log_that_begins_in_the_middle_says_which_lines_are_not_checked() -> None:
    log = sealed_log(3, 3, 3)
    check = checked(log[5:])
    assert check.problems == [] and check.proven == 3
    assert check.notes == ["the files begin among the lines of seal 2: 2 lines not checked"]


def test_lines_from_before_the_first_seal_are_counted_and_not_called_wrong() -> None:
    check = checked([line(80), line(81), *sealed_log(2)])
    assert check.problems == [] and check.notes == ["2 lines before the first seal: written before the log was sealed"]


def test_lines_that_a_start_read_back_are_told() -> None:
    text, _ = seal_over([line(1), line(2)], 1, None, read_back=1)
    check = checked([line(1), line(2), text])
    assert check.problems == [] and check.proven == 2
    assert check.notes == ["audit.jsonl:3: 1 line of seal 1 read back at a start, not as written"]


@pytest.mark.parametrize("damage", [b'"seal":"', b'"}', b'"root":"', b"audit.sealed"])
def test_a_damaged_seal_is_not_read(damage: bytes) -> None:
    text, _ = seal_over([line(1)], 1, None)
    assert read_seal(text) is not None
    assert read_seal(text.replace(damage, b"")) is None


@given(st.data())
def test_no_byte_of_a_sealed_log_can_change_unseen_but_in_its_last_seal(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    log = sealed_log(*sizes)
    at = data.draw(st.integers(0, len(log) - 1))
    byte = data.draw(st.integers(0, len(log[at]) - 1))
    flipped = log[at][byte] ^ data.draw(st.integers(1, 255))
    if flipped == 0x0A:
        return
    changed = [*log[:at], log[at][:byte] + bytes([flipped]) + log[at][byte + 1 :], *log[at + 1 :]]
    check = checked(changed)
    head = read_seal(log[-1])
    assert head is not None
    last = check.chain.last
    assert check.problems or last is None or last.seal != head.seal, "the head tells it, if nothing else does"


@given(st.data())
def test_no_line_of_a_sealed_log_can_be_dropped_or_swapped_unseen(data: st.DataObject) -> None:
    log = sealed_log(*data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    at = data.draw(st.integers(1, len(log) - 2))
    if data.draw(st.booleans()):
        changed = [*log[:at], *log[at + 1 :]]
    else:
        other = data.draw(st.integers(0, len(log) - 1).filter(lambda one: one != at))
        changed = list(log)
        changed[at], changed[other] = changed[other], changed[at]
    check = checked(changed)
    head = read_seal(log[-1])
    assert head is not None
    assert check.problems or check.chain.last is None or check.chain.last.seal != head.seal
