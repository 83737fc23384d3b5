"""`gateway evidence`: what a running gateway exports is verified offline; what was done to the file or to the log is named."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.audit_events import AuditSealed
from tests.cli.backups import ARCHIVED, admin
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import SECRET, event, new_id, signed

ITEM = "ITEM-7001"
MISPLACED = "whsec_bm90IGEgcmVhbCBzZWNyZXQ="
"""A secret where a reference belongs."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that has delivered a message, a duplicate of it and one that is not JSON."""
    with Running(tmp_path_factory.mktemp("standing"), ARCHIVED) as running, no_traceback(running):
        asyncio.run(_post(running))
        yield running


async def _post(running: Running) -> None:
    body, sender_id = event(reference_id=ITEM), new_id()
    for one, identifier in ((body, sender_id), (body, sender_id), (b"\xff\xfe", new_id()), (event(), new_id())):
        assert (await running.post(one, signed(one, identifier))).status == 200
    await until(lambda: len(running.audit("delivery.delivered")) == 2)


def export(running: Running, file: Path, asked: str = ITEM) -> Result:
    return command("evidence", "export", asked, file, "--admin", admin(running), cwd=running.folder)


@pytest.fixture
def file(standing: Running, tmp_path: Path) -> Path:
    path = tmp_path / "item.jsonl"
    assert export(standing, path).status == 0
    return path


def head_of(file: Path) -> str:
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    seals = [json.loads(one["line"]) for one in lines if one["record"] == "seal"]
    assert seals
    return str(seals[-1]["seal"])


def test_what_is_exported_is_proven_offline_by_the_file_alone(file: Path, tmp_path: Path) -> None:
    done = command("evidence", "verify", file, "--head", head_of(file), "--json", cwd=tmp_path)
    document = done.document()
    assert (done.status, done.err, document["sound"], document["asked"]) == (0, "", True, ITEM)
    (message,) = document["messages"]
    assert message["anchored"] and message["lines"] == 3, "accepted, duplicate, delivered"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_text_says_what_is_proven_and_what_is_not(file: Path, tmp_path: Path) -> None:
    done = command("evidence", "verify", file, cwd=tmp_path)
    assert done.status == 0
    said = ("body proven by seal", "no --head was given", "HMAC is symmetric", "owner of the host", "key env LEGITMARK")
    assert [text for text in said if text not in done.out] == [], done.out


def test_the_signature_of_the_sender_is_checked_with_the_secret(file: Path, tmp_path: Path) -> None:
    def verified(secret: str) -> Result:
        return command("evidence", "verify", file, "--secret", "env:SECRET", cwd=tmp_path, variables={"SECRET": secret})

    right, wrong = verified(SECRET), verified("whsec_" + "QUFB" * 8)
    assert (right.status, wrong.status) == (0, 1)
    assert "signature: fits" in right.out and "fits no secret" in wrong.out


def test_the_rules_that_routed_a_message_are_in_the_file(standing: Running, file: Path) -> None:
    records = [json.loads(line) for line in file.read_bytes().splitlines()]
    (rules,) = [one for one in records if one["record"] == "rules"]
    (message,) = [one for one in records if one["record"] == "message"]
    assert message["rules"] == {"kept": "yes", "number": rules["number"]}
    assert [route["sinks"] for route in json.loads(rules["snapshot"])["routes"]] == [["archive"]]


def test_a_body_that_is_no_text_and_no_json_is_proven_too(standing: Running, tmp_path: Path) -> None:
    quarantined = standing.audit("message.quarantined")[0]["message_id"]
    done = export(standing, tmp_path / "q.jsonl", quarantined)
    assert done.status == 0, done.err
    assert command("evidence", "verify", tmp_path / "q.jsonl", cwd=tmp_path).status == 0


def test_a_changed_byte_is_named_with_its_line(file: Path, tmp_path: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"record":"message"' in line)
    lines[at] = lines[at].replace(ITEM.encode(), b"ITEM-7002")
    (tmp_path / "changed.jsonl").write_bytes(b"".join(lines))
    done = command("evidence", "verify", tmp_path / "changed.jsonl", cwd=tmp_path)
    assert done.status == 1 and f"WRONG: changed.jsonl:{at + 1}: this record was changed" in done.out and "NOT SOUND" in done.out


def test_another_head_than_the_seals_lead_to_is_not_sound(file: Path, tmp_path: Path) -> None:
    done = command("evidence", "verify", file, "--head", "0" * 64, cwd=tmp_path)
    assert done.status == 1 and "is not in the file: cut off, made before it, or rewritten" in done.out


def test_an_existing_file_is_not_overwritten_and_nothing_is_left_behind(standing: Running, tmp_path: Path) -> None:
    path = tmp_path / "item.jsonl"
    path.write_text("mine", encoding="utf-8")
    done = export(standing, path)
    assert (done.status, path.read_text(encoding="utf-8")) == (2, "mine") and "never overwritten" in done.err
    beside = tmp_path / "other.jsonl.new"
    beside.write_text("mine, too", encoding="utf-8")
    assert export(standing, tmp_path / "other.jsonl").status == 0
    assert beside.read_text(encoding="utf-8") == "mine, too"
    assert export(standing, tmp_path / "no" / "item.jsonl").status == 74
    assert sorted(one.name for one in tmp_path.iterdir()) == ["item.jsonl", "other.jsonl", "other.jsonl.new"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("export", "NOBODY", "out"), 2, 'no message has the id "NOBODY"'),
        (("export", ITEM, "-"), 2, "name one"),
        (("verify", "nowhere"), 2, "does not exist"),
        (("verify", "gateway.toml", "--head", "seal"), 2, "64 hex digits"),
        (("verify", "gateway.toml", "--secret", MISPLACED), 2, "not the secret itself"),
        (("verify", "gateway.toml", "--secret", "env:NOT_SET"), 2, "NOT_SET is not set"),
        (("verify", "gateway.toml"), 1, "this line does not end with its chain"),
        (("audit", "nowhere"), 2, "does not exist"),
    ],
)
def test_a_mistake_is_told_and_no_secret_is_shown(standing: Running, arguments: tuple[str, ...], status: int, said: str) -> None:
    more = ("--admin", admin(standing)) if arguments[0] == "export" else ()
    done = command("evidence", *arguments, *more, cwd=standing.folder)
    assert done.status == status and said in done.out + done.err and MISPLACED not in done.out + done.err


def test_the_log_of_a_running_gateway_is_proven_line_by_line(standing: Running, file: Path) -> None:
    done = command("evidence", "audit", "--json", "--head", head_of(file), cwd=standing.folder)
    document = done.document()
    assert (done.status, document["sound"], document["head_found"], document["problems"]) == (0, True, True, [])
    assert document["proven"] >= 5


async def test_the_log_is_proven_across_a_kill_a_rotation_and_a_stop(running: Running) -> None:
    await running.post(event())
    running.kill()
    await asyncio.to_thread(running.start)
    await running.post(event())
    await until(lambda: len(running.audit("delivery.delivered")) == 2)
    rotated = running.audit_file.rename(running.folder / "audit.jsonl.1")
    running.audit_file.touch(0o640)
    await running.post(event())
    await until(lambda: running.audit("delivery.delivered"))
    assert await running.stop() == 0
    (running.folder / "audit.jsonl.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    (head,) = [line["seal"] for line in running.audit(AuditSealed.name)]
    done = command("evidence", "audit", "--head", head, cwd=running.folder)
    assert done.status == 0 and "read back at a start" in done.out and "WRONG" not in done.out
    # The files in the order in which a shell lists them:
    named = command("evidence", "audit", "audit.jsonl", "audit.jsonl.1.gz", "--json", cwd=running.folder).document()
    assert named["sound"] and named["lines"] == named["proven"]


async def test_lines_that_are_taken_out_of_a_log_are_named(running: Running) -> None:
    for _ in range(3):
        await running.post(event())
    await until(lambda: len(running.audit("delivery.delivered")) == 3)
    assert await running.stop() == 0
    whole = running.audit_file.read_bytes().splitlines(keepends=True)
    running.audit_file.write_bytes(b"".join([*whole[:2], *whole[3:]]))
    done = command("evidence", "audit", cwd=running.folder)
    assert done.status == 1 and f"WRONG: audit.jsonl:1 to audit.jsonl:{len(whole) - 1}: 1 line dropped" in done.out
    running.audit_file.write_bytes(b"".join(whole[:-1]))
    assert command("evidence", "audit", cwd=running.folder).status == 1, "a log without any seal proves nothing"


async def test_the_head_tells_that_the_end_was_cut_off(running: Running) -> None:
    await running.post(event())
    await until(lambda: running.audit("delivery.delivered"))
    for _ in range(2):
        assert await running.stop() == 0
        await asyncio.to_thread(running.start)
    assert await running.stop() == 0
    first, *_, last = running.audit(AuditSealed.name)
    whole = running.audit_file.read_bytes()
    running.audit_file.write_bytes(whole[: whole.index(first["seal"].encode()) + 67])
    assert command("evidence", "audit", cwd=running.folder).status == 0, "nothing in the log can tell"
    done = command("evidence", "audit", "--head", last["seal"], cwd=running.folder)
    assert done.status == 1 and "its end was cut off, or it was made anew" in done.out
