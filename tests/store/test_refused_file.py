"""The file of refused requests is bounded and survives a kill; a damaged one is set aside."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.kept_requests import KeptRequests, RefusedRequest
from gateway.core.signature import Claim
from gateway.store.sqlite import refused_file
from gateway.store.sqlite.refused_file import RefusedFile


def request(number: int = 0, *, source: str = "legitmark", sender_id: str | None = None, body: bytes = b"{}") -> RefusedRequest:
    claim = Claim((sender_id or f"msg_{number}").encode(), b"1700000000", b"v1,%d" % number)
    return RefusedRequest(source, 1000.0 + number, claim, "application/json", body)


def ids(file: RefusedFile, source: str = "legitmark") -> list[str]:
    return [one.claim.sender_id for one in file.page(source, 0, 10**9, 10**6, 10**9)]


def test_kept_requests_are_read_back_unchanged_from_a_file_that_only_its_user_may_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db.refused"
    file = RefusedFile(path)
    given = request(1, body=b"\xff\x00" * 1000)
    file.keep([given], {"legitmark": 10**6})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = RefusedFile(path)  # the first one was never closed, as after a kill
    (found,) = again.page("legitmark", 0, 10, 10, 10**6)
    assert (found.claim, found.body, found.content_type, found.arrived_at) == (
        given.claim,
        given.body,
        given.content_type,
        1001.0,
    )
    for one in (file, again):
        one.close()


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60), st.integers(0, 3000)), max_size=60),
    st.integers(1, 8),
    st.integers(0, 12_000),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_oldest_requests_of_a_source_are_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[tuple[str, int, int]], most: int, limit: int
) -> None:
    """The model is a queue for each source."""
    monkeypatch.setattr(refused_file, "MOST_KEPT", most)
    path = tmp_path / "refused"
    path.unlink(missing_ok=True)
    file = RefusedFile(path)
    model: dict[str, deque[RefusedRequest]] = {"a": deque(), "b": deque()}
    limits = {"a": limit, "b": 10**6}
    for number, (source, _, size) in enumerate(given):
        one = request(number, source=source, body=b"x" * size)
        file.keep([one], limits)
        queue = model[source]
        queue.append(one)
        while len(queue) > most or sum(other.size for other in queue) > limits[source]:
            queue.popleft()
    for source, queue in model.items():
        assert ids(file, source) == [one.claim.sender_id for one in queue]
        kept = file.kept().get(source, KeptRequests())
        assert (kept.count, kept.bytes) == (len(queue), sum(one.size for one in queue))
    file.close()


def test_a_large_batch_makes_the_file_little_larger_than_its_limit(tmp_path: Path) -> None:
    file = RefusedFile(tmp_path / "refused")
    for batch in range(3):
        file.keep([request(100 * batch + number, body=b"x" * 50_000) for number in range(80)], {"legitmark": 2**20})
        assert file.path.stat().st_size < 1.5 * 2**20
    assert ids(file) == [f"msg_{number}" for number in range(260, 280)]
    file.close()


def test_the_first_and_the_last_attempt_at_a_message_are_kept(tmp_path: Path) -> None:
    """The sender tries five times; a stranger who repeats a request with a made-up signature cannot push out the first one."""
    file = RefusedFile(tmp_path / "refused")
    for number in range(5):
        file.keep([request(number, sender_id="msg_same")], {"legitmark": 10**6})
    file.keep([request(9, sender_id="msg_same", body=b"another")], {"legitmark": 10**6})
    kept = file.page("legitmark", 0, 100, 100, 10**6)
    assert [one.claim.signatures for one in kept] == [b"v1,0", b"v1,4", b"v1,9"]
    file.close()


def test_a_page_is_bounded_in_bytes_and_has_at_least_one_request(tmp_path: Path) -> None:
    file = RefusedFile(tmp_path / "refused")
    file.keep([request(number, body=b"x" * 5000) for number in range(5)], {"legitmark": 10**6})
    assert len(file.page("legitmark", 0, 10, 10, 12_000)) == 2
    assert len(file.page("legitmark", 0, 10, 10, 1)) == 1
    assert [one.seq for one in file.page("legitmark", 3, 4, 10, 10**6)] == [4]
    file.close()


def test_old_requests_and_those_of_a_source_that_keeps_none_are_forgotten_and_the_file_shrinks(tmp_path: Path) -> None:
    file = RefusedFile(tmp_path / "refused")
    file.keep([request(number, body=b"x" * 50_000) for number in range(40)], {"legitmark": 10**9})
    file.keep([request(50, source="other")], {"other": 10**6})
    before = file.path.stat().st_size
    file.forget([], before=1039.0)
    assert ids(file) == ["msg_39"] and file.path.stat().st_size < before / 4
    file.forget(["other"], before=0.0)
    assert set(file.kept()) == {"legitmark"}
    file.close()


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be looked at" * 100, b"SQLite format 3\0" + b"\xee" * 9000]
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "refused"
    path.write_bytes(damage)
    file = RefusedFile(path)
    assert file.set_aside == tmp_path / "refused.damaged" and file.set_aside.read_bytes() == damage
    file.keep([request(1)], {"legitmark": 10**6})
    assert ids(file) == ["msg_1"]
    file.close()


def test_a_pipe_in_place_of_the_file_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "refused")
    with pytest.raises(OSError, match="No such device"):
        RefusedFile(tmp_path / "refused")
