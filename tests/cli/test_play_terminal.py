"""`gateway play` at a real pseudo-terminal, run by a real shell: its keys, and the terminal given back however it ends."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.playing import AtATerminal, at_a_shell, post
from tests.cli.serving import wait_until
from tests.support.receivers import Receiver
from tests.support.webhooks import event, signed

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this host")

PLAY = f"{shlex.quote(sys.executable)} -m gateway play --port 0 --secret env:LEGITMARK_SECRET"
CANARY = "Kanarienvogel-0815"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[AtATerminal]:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {shlex.quote(str(tmp_path))}/opened\n')
    browser.chmod(0o755)
    with at_a_shell(tmp_path, {"BROWSER": str(browser)}) as terminal:
        yield terminal


def begin(shell: AtATerminal, more: str = "") -> str:
    """Start the receiver, and return its address once it reads keys."""
    shell.type(f"{PLAY} {more}\n")
    shell.until("q ends.")
    return str(re.findall(r"http://127\.0\.0\.1:[0-9]+", shell.text)[-1])


def send(address: str, body: bytes | None = None) -> None:
    body = body or event(reference_id="BAG-7")
    asyncio.run(post(f"{address}/hook", body, [*signed(body), ("authorization", f"Bearer {CANARY}")]))


def ended(shell: AtATerminal) -> None:
    """The shell has the terminal again, as it was, and the exit code was 0."""
    since = len(shell.text)
    shell.type("echo status=$?.\n")
    shell.until("status=0.", since=since)
    assert not shell.is_raw
    assert "Traceback" not in shell.text


def test_a_request_is_shown_as_it_comes_and_q_ends(shell: AtATerminal) -> None:
    address = begin(shell)
    assert shell.is_raw
    send(address)
    shell.until("BAG-7")
    assert "POST /hook" in shell.text and "signed by env LEGITMARK_SECRET" in shell.text
    assert "\x1b[32m" in shell.text, "the verdict is green"
    shell.type("q")
    shell.until("ready> ", since=shell.text.index("BAG-7"))
    ended(shell)


def test_without_colours_there_are_none(shell: AtATerminal) -> None:
    shell.type("export NO_COLOR=1\n")
    address = begin(shell)
    since = len(shell.text)
    send(address)
    assert "\x1b[3" not in shell.until("BAG-7", since=since)
    shell.type("q")


def test_d_shows_the_details_without_a_secret(shell: AtATerminal) -> None:
    address = begin(shell)
    send(address)
    shell.until("BAG-7")
    since = len(shell.text)
    shell.type("d")
    seen = shell.until("curl", since=since)
    assert "svix-signature: v1," in seen and "Bearer ***" in seen and '"reference_id":"BAG-7"' in seen
    assert CANARY not in shell.text
    shell.type("q")


def test_r_replays_the_newest_or_the_chosen_request(shell: AtATerminal) -> None:
    with Receiver() as receiver:
        address = begin(shell, f"--forward {receiver.url()}")
        for name in ("BAG-1", "BAG-2", "BAG-3"):
            send(address, event(reference_id=name))
        shell.until("BAG-3")
        shell.type("r")
        shell.until("replayed #3")
        assert receiver.requests[3].body == receiver.requests[2].body
        assert receiver.requests[3].headers["authorization"] == f"Bearer {CANARY}", "it goes on as it came"
        since = len(shell.text)
        shell.type("k")
        shell.until("chosen ", since=since)
        shell.type("\x1b[A")
        shell.until("BAG-1", since=since)
        shell.type("r")
        shell.until("replayed #1")
        assert b'"BAG-1"' in receiver.requests[4].body
        shell.type("kG")
        shell.until("the newest request is chosen")
        shell.type("r")
        shell.until("replayed #3", since=shell.text.index("the newest request is chosen"))
        shell.type("q")
    assert CANARY not in shell.text


def test_r_says_what_is_missing(shell: AtATerminal) -> None:
    begin(shell)
    shell.type("r")
    shell.until("start with --forward")
    shell.type("d")
    shell.until("nothing has come yet")
    shell.type("q")


def test_a_replay_to_a_server_that_hangs_does_not_hold_up_the_keys(shell: AtATerminal) -> None:
    with Receiver() as receiver:
        address = begin(shell, f"--forward {receiver.url()}")
        send(address)
        shell.until("BAG-7")
        receiver.hold()
        shell.type("r")
        wait_until(lambda: len(receiver.requests) == 2, "it did not replay")
        shell.type("?")
        shell.until("this list")
        shell.type("q")
        shell.until("ready> ", since=shell.text.index("this list"))
        ended(shell)


def test_o_opens_the_page_in_the_browser(shell: AtATerminal, tmp_path: Path) -> None:
    address = begin(shell)
    shell.type("o")
    wait_until(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text() != "", "it opened nothing")
    assert (tmp_path / "opened").read_text() == f"{address}/_play"
    shell.type("q")


def test_the_keys_are_listed_and_others_do_nothing(shell: AtATerminal) -> None:
    begin(shell)
    shell.type("xyz\x1b[5~\x1b[1;5Pé袋?")
    seen = shell.until("end, as Ctrl-C does")
    for key in ("r  ", "d  ", "up, k", "down, j", "end, G", "o  ", "?  ", "q  "):
        assert key in seen
    shell.type("q")


@pytest.mark.parametrize("typed", ["\x03", "q"], ids=["Ctrl-C", "q"])
def test_the_terminal_is_given_back_after_a_key_that_ends(shell: AtATerminal, typed: str) -> None:
    before = shell.modes
    begin(shell)
    since = len(shell.text)
    shell.type(typed)
    shell.until("ready> ", since=since)
    ended(shell)
    assert shell.modes[:4] == before[:4]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_given_back_after_a_signal(shell: AtATerminal, number: int) -> None:
    begin(shell)
    since = len(shell.text)
    os.kill(os.tcgetpgrp(shell.descriptor), number)
    shell.until("ready> ", since=since)
    ended(shell)


def test_the_terminal_is_given_back_after_an_error(shell: AtATerminal) -> None:
    address = begin(shell)
    shell.type("\x1a")
    shell.until("Stopped")
    since = len(shell.text)
    shell.type(f"{PLAY.replace('--port 0', '--port ' + address.rpartition(':')[2])}\n")
    shell.until("choose another port", since=since)
    shell.until("ready> ", since=since)
    assert not shell.is_raw
    shell.type("kill %1; fg\n")


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(shell: AtATerminal) -> None:
    address = begin(shell)
    shell.type("\x1a")
    shell.until("Stopped")
    since = len(shell.text)
    shell.type("echo as it was\n")
    shell.until("as it was", since=since)
    assert not shell.is_raw
    shell.type("bg\n")
    shell.until("&", since=since)
    send(address)
    shell.until("BAG-7", since=since)
    assert not shell.is_raw, "in the background the terminal is the shell's"
    shell.type("fg\n")
    wait_until(lambda: shell.read(0.05) and shell.is_raw, "it takes no keys again")
    since = len(shell.text)
    shell.type("?")
    shell.until("this list", since=since)
    shell.type("q")
    shell.until("ready> ", since=since)
    ended(shell)


def test_in_the_background_it_takes_no_keys_and_serves(shell: AtATerminal) -> None:
    shell.type(f"{PLAY} &\n")
    shell.until("Nothing is kept.")
    assert not shell.is_raw
    send(re.findall(r"http://127\.0\.0\.1:[0-9]+", shell.text)[-1])
    shell.until("BAG-7")
    shell.type("kill %1\n")


def test_a_terminal_that_goes_away_ends_it(shell: AtATerminal) -> None:
    begin(shell)
    pid = os.tcgetpgrp(shell.descriptor)
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it goes on without its terminal")
