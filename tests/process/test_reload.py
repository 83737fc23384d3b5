"""A reload of a real gateway is atomic, and is reported (promise 10)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.running import gateway as command
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.leased_file import leased
from tests.support.receivers import Receiver
from tests.support.reloading import accepted, ask_by_signal, metric, post_reload, reloaded, run, until_answered
from tests.support.waiting import until
from tests.support.webhooks import event, signed

FILE_SECRET = "whsec_fcGVB9Xq3mJ0yPZkT5uNwLs8aHdRo2Ei"
OTHER_SECRET = "whsec_u7Kx1QvYb4TgMz9eWnJr6LpCs3AdFh0O"
SUCCESSFUL = "legitmark_gateway_config_last_reload_successful"
LOADED_AT = "legitmark_gateway_config_last_reload_success_timestamp_seconds"


# --- a good one


async def test_a_reload_signal_during_the_start_does_not_end_the_gateway(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "secret").write_text(FILE_SECRET)
    (tmp_path / "secret").chmod(0o600)
    running = Running(tmp_path, http_sink(receiver, more='secret = { file = "secret" }') + route("erp"))
    try:
        with leased(tmp_path / "secret") as lease:
            running.launch()
            await until(lambda: lease.asked)  # it reads its secrets
            ask_by_signal(running)
        await asyncio.to_thread(running.await_ready)
        await accepted(running)
    finally:
        running.kill()


@pytest.mark.parametrize("way", ["signal", "request", "command"])
async def test_a_reload_applies_the_new_rules_however_it_is_requested(way: str, tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        loaded_at = await metric(running, LOADED_AT)
        running.write_config(http_sink(receiver, "crm") + route("crm"))
        match way:
            case "signal":
                ask_by_signal(running)
            case "request":
                assert (await post_reload(running)).status == 200
            case _:
                result = await run(running, "reload")
                assert (result.status, result.err) == (0, "") and "  added [sinks.crm]" in result.out
        await until(lambda: running.audit("config.reloaded"))
        body = await accepted(running)
        await until(lambda: receiver.of(body))
        assert [request.path for request in receiver.of(body)] == ["/crm"]
        (line,) = running.audit("config.reloaded")
        assert "added [sinks.crm]" in line["detail"]
        assert {"signal": "SIGHUP", "request": "admin"}.get(way, line["actor"]) == line["actor"] != ""
        assert "config.reloaded" in running.stderr()
        assert await metric(running, SUCCESSFUL) == 1 and await metric(running, LOADED_AT) > loaded_at


async def test_a_new_source_a_moved_path_a_smaller_body_and_a_shorter_tolerance_apply_at_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    sinks = http_sink(receiver) + "[[routes]]\nsinks = ['erp']\n"
    (tmp_path / "secret").write_text(FILE_SECRET)
    (tmp_path / "secret").chmod(0o600)
    with Running(tmp_path, sinks) as running:
        old = event()
        assert (await running.post(old, signed(old, age=60))).status == 200
        assert (await running.post(old, path="/partner")).outcome == (404, "not_found")
        await reloaded(
            running,
            '[server]\nlisten = ["127.0.0.1:0"]\nmax_body = "1KiB"\n'
            '[sources.legitmark]\npath = "/moved"\ntolerance = "30s"\nsecrets = [{ env = "LEGITMARK" }]\n'
            '[sources.partner]\npath = "/partner"\nsecrets = [{ file = "secret" }]\n' + sinks,
        )
        body = event()
        assert (await running.post(body)).outcome == (404, "not_found")
        assert (await running.post(body, signed(body, age=60), path="/moved")).outcome == (401, "stale_timestamp")
        assert (await running.post(body, path="/moved")).outcome == (200, "accepted")
        assert (await running.post(b" " * 2000, path="/moved")).outcome == (413, "body_too_large")
        assert (await running.post(body, signed(body, secret=FILE_SECRET), path="/partner")).outcome == (200, "accepted")


async def test_a_secret_rotated_in_its_file_applies_from_the_reload_on_and_is_shown_nowhere(
    tmp_path: Path, receiver: Receiver
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(FILE_SECRET)
    secret.chmod(0o600)
    source = '[sources.legitmark]\nsecrets = [{ file = "secret" }]\nkeep_refused = "0B"\n'
    more = 'bearer = { file = "bearer" }\nheaders = { x-key = "HEADER-%s" }'
    (tmp_path / "bearer").write_text("BEARER-1")
    (tmp_path / "bearer").chmod(0o600)
    with Running(tmp_path, source + http_sink(receiver, more=more % 1, path="/erp?key=QUERY-1") + route("erp")) as running:
        secret.write_text(OTHER_SECRET)
        (tmp_path / "bearer").write_text("BEARER-2")
        new = source + http_sink(receiver, more=more % 2, path="/erp?key=QUERY-2") + route("erp")
        running.write_config(new)
        before = await post_reload(running, query="?dry_run=1")
        body = event()
        assert (await running.post(body, signed(body, secret=OTHER_SECRET))).outcome == (401, "bad_signature")
        said = await post_reload(running)
        assert before.json()["changes"] == said.json()["changes"] and before.json()["status"] == "unchanged"
        assert (await running.post(body, signed(body, secret=FILE_SECRET))).outcome == (401, "bad_signature")
        assert (await running.post(body, signed(body, secret=OTHER_SECRET))).outcome == (200, "accepted")
        await until(lambda: receiver.requests)
        (request,) = receiver.requests
        assert (request.headers["authorization"], request.headers["x-key"]) == ("Bearer BEARER-2", "HEADER-2")
        places = {change["place"] for change in said.json()["changes"]}
        keys = {"[sinks.erp] bearer", "[sinks.erp] headers", "[sinks.erp] url"}
        assert places == {"[sources.legitmark] secrets", *keys}
        shown = [said.body.decode(), running.stderr(), running.audit_file.read_text()]
        for hidden in (FILE_SECRET, OTHER_SECRET, "BEARER", "HEADER", "QUERY"):
            assert not any(hidden in text for text in shown), hidden


async def test_a_new_retention_and_a_new_min_free_apply_at_once(tmp_path: Path, receiver: Receiver) -> None:
    toml = http_sink(receiver) + route("erp")
    with Running(tmp_path, toml) as running:
        body = event()
        headers = signed(body, "msg_once")
        assert (await running.post(body, headers)).outcome == (200, "accepted")
        assert (await running.post(body, headers)).outcome == (200, "duplicate")
        await reloaded(running, toml + '[store]\nretention = "1ms"\n')
        assert (await running.post(body, headers)).outcome == (200, "accepted")
        await reloaded(running, toml + '[store]\nmin_free = "900000GiB"\n')
        await until_answered(running, 503)
        await reloaded(running, toml)  # a full disk hinders no reload that writes nothing
        await until_answered(running, 200)


# --- a bad one


BROKEN = '[[routes]]\nname = "x"\nsinks = ["nobody"]\nmatch = { state = { primry = 1 } }\n[sinks.erp]\ntimout = "30s"\n'


async def test_a_bad_file_changes_nothing_and_is_reported_in_the_words_of_check(tmp_path: Path, receiver: Receiver) -> None:
    good = http_sink(receiver) + route("erp")
    with Running(tmp_path, good) as running:
        loaded_at = await metric(running, LOADED_AT)
        answer = await post_reload(running, BROKEN + 'type = "http"\non_stale = "annotate"\nurl = "http://127.0.0.1:9/"\n')
        assert answer.status == 422 and answer.json()["error"] == "bad_configuration"
        assert len(answer.json()["problems"]) > 1
        assert await metric(running, SUCCESSFUL) == 0 and await metric(running, LOADED_AT) == loaded_at

        checked = await asyncio.to_thread(command, "check", cwd=tmp_path, variables={"LEGITMARK": running.secrets["LEGITMARK"]})
        *problems, _ = checked.out.splitlines()
        refused = await run(running, "reload")
        assert (refused.status, refused.out) == (78, "") and refused.err.splitlines() == problems
        document = await run(running, "reload", "--json")
        assert document.status == 78 and len(document.document()["problems"]) == len(answer.json()["problems"])
        dry = await run(running, "reload", "--diff")
        assert dry.status == 78 and dry.err == refused.err

        ask_by_signal(running)
        await until(lambda: len(running.audit("config.refused")) == 4)
        lines = running.audit("config.refused")
        assert lines[0]["actor"] == "admin" and lines[-1]["actor"] == "SIGHUP"
        assert all("nobody" in line["detail"] and "timout" in line["detail"] for line in lines)
        await until(lambda: running.stderr().count('"config.refused"') == 4)

        body = await accepted(running)
        await until(lambda: receiver.of(body))
        assert running.audit("config.reloaded") == []
        await reloaded(running, good)
        assert await metric(running, SUCCESSFUL) == 1 and await metric(running, LOADED_AT) > loaded_at


async def test_only_the_method_post_reloads(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        answer = await running.admin("/-/reload")
        assert answer.status == 405 and answer.header("allow") == "POST"
        stranger = await running.admin("/-/reload", [("Origin", "http://evil.example")], method="POST")
        assert stranger.status == 403
        assert running.audit("config.reloaded") == running.audit("config.refused") == []


async def test_many_reloads_at_once_come_one_after_the_other(tmp_path: Path, receiver: Receiver) -> None:
    one = http_sink(receiver) + route("erp")
    with Running(tmp_path, one) as running:
        running.write_config(one + http_sink(receiver, "crm") + route("crm"))
        ask_by_signal(running)
        await asyncio.gather(*(post_reload(running) for _ in range(8)))
        first, *others = running.audit("config.reloaded")
        assert "added [sinks.crm]" in first["detail"] and {line["detail"] for line in others} == {"nothing changed"}
        await accepted(running)
        await until(lambda: {request.path for request in receiver.requests} == {"/erp", "/crm"})
        assert len(receiver.requests) == 2


# --- what needs a restart


async def test_changes_that_need_a_restart_are_named_each_time_and_not_applied(tmp_path: Path, receiver: Receiver) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "legitmark").write_text(FILE_SECRET)
    toml = http_sink(receiver) + route("erp")
    source = '[sources.legitmark]\nsecrets = [{ credential = "legitmark" }]\n'
    with Running(tmp_path, source + toml, {"CREDENTIALS_DIRECTORY": str(folder)}) as running:
        (folder / "legitmark").write_text(OTHER_SECRET)
        late = (
            '[server]\nlisten = ["127.0.0.1:1"]\ndrain = "1s"\n[admin]\nlisten = ["127.0.0.1:2"]\n'
            '[store]\npath = "other.db"\n[audit]\npath = "other.jsonl"\n'
        )
        for _ in range(2):
            said = await reloaded(running, late + source + toml)
            places = ["[server] listen", "[admin] listen", "[store] path", "[audit] path", "credential legitmark"]
            assert said["restart"] == places
        assert [change["place"] for change in said["changes"]] == places[:4], "the drain took effect the first time"
        body = event()
        assert (await running.post(body, signed(body, secret=OTHER_SECRET))).status == 401
        assert (await running.post(body, signed(body, secret=FILE_SECRET))).status == 200
        assert not (tmp_path / "other.db").exists() and not (tmp_path / "other.jsonl").exists()
        result = await run(running, "reload")
        assert "[server] listen takes effect when the gateway starts again" in result.out
        assert FILE_SECRET not in running.stderr() + result.out and OTHER_SECRET not in running.stderr() + result.out
        said = await reloaded(running, source + toml)
        assert said["restart"] == ["credential legitmark"]


async def test_a_reload_changes_the_admin_token_but_does_not_remove_it(tmp_path: Path, receiver: Receiver) -> None:
    toml = http_sink(receiver) + route("erp")
    token = '[admin]\nlisten = ["127.0.0.1:0"]\ntoken = { env = "ADMIN_TOKEN" }\n'
    bearer = [("Authorization", "Bearer token-5Lw8")]
    with Running(tmp_path, token + toml, {"ADMIN_TOKEN": "token-1Gf6", "OTHER": "token-5Lw8"}) as running:
        running.write_config(token.replace("ADMIN_TOKEN", "OTHER") + toml)
        old = [("Authorization", "Bearer token-1Gf6")]
        assert (await running.admin("/-/reload", old, method="POST")).status == 200
        assert (await running.admin("/api/sinks", old)).status == 401
        running.write_config('[admin]\nlisten = ["127.0.0.1:9"]\n' + toml)
        answer = await running.admin("/-/reload", bearer, method="POST")
        assert answer.json()["restart"] == ["[admin] listen", "[admin] token"]
        assert (await running.admin("/api/sinks")).status == 401
        assert (await running.admin("/api/sinks", bearer)).status == 200


# --- a stop


async def test_a_reload_in_progress_does_not_delay_a_stop(tmp_path: Path, receiver: Receiver) -> None:
    """Its secret comes only after the lanes have stopped. A lane that the reload added then would never end."""
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        (tmp_path / "slow").write_text("token-7Qs3")
        (tmp_path / "slow").chmod(0o600)
        receiver.hold()
        await accepted(running)
        await until(lambda: receiver.requests)
        more = http_sink(receiver, "crm", 'bearer = { file = "slow" }')
        running.write_config(http_sink(receiver) + more + route("erp", "crm"))
        with leased(tmp_path / "slow") as lease:
            reloading = asyncio.create_task(running.admin("/-/reload", method="POST"))
            await until(lambda: lease.asked)
            running.terminate()
            await until(lambda: '"gateway.stopping"' in running.stderr())
        answer = await reloading
        assert (answer.status, answer.json()["error"]) == (503, "store_unavailable")
        receiver.release()
        assert await running.exit_code() == 0
        assert running.rows("SELECT state, attempts FROM deliveries") == [("delivered", 1)]
        assert [line["event"] for line in running.audit()][-1] == "gateway.stopped"
