"""The keys of `gateway play`: each acts on the request that was chosen, or on the newest one."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.core.caught_facts import ReceiverLedger
from gateway.core.caught_requests import CaughtRequest, RequestRing
from gateway.core.request_pictures import Painter
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from gateway.cli.play.lines import Teller

_OPENERS = ("xdg-open", "open", "wslview")
"""Programs that open a URL in the user's browser: of freedesktop.org, of macOS, of WSL."""
_HELP = """\
r        replay: pass the request on to the forward URL again
d        details: headers, verdict, body, answer, the command to send it again
up, k    choose the request before
down, j  choose the request after
end, G   choose the newest again, whatever comes
o        open the page in the browser
?        this list
q        end, as Ctrl-C does"""


class Playing(Protocol):
    """The receiver that the keys act on."""

    ring: RequestRing
    ledger: ReceiverLedger
    address: str

    @property
    def painter(self) -> Painter:
        """Makes pictures of requests."""
        ...

    @property
    def page(self) -> str:
        """The URL of the page."""
        ...

    def replay(self, number: int) -> None: ...

    def stop(self) -> None: ...


class Keyboard:
    """Does what keys ask for. No key waits for anything."""

    def __init__(self, receiving: Playing, teller: Teller, forward: str | None, environment: Environment) -> None:
        self._receiving = receiving
        self._teller = teller
        self._forward = forward
        self._environment = environment
        self._number: int | None = None
        """The request that was chosen; None follows the newest."""
        self._opened: list[subprocess.Popen[bytes]] = []
        self._keys: dict[str, Callable[[], None]] = {
            "r": self._replay,
            "d": self._details,
            "k": lambda: self._choose(-1),
            "up": lambda: self._choose(-1),
            "j": lambda: self._choose(1),
            "down": lambda: self._choose(1),
            "G": self._follow,
            "end": self._follow,
            "o": self._open,
            "?": lambda: self._say_lines(_HELP),
            "q": receiving.stop,
        }

    def press(self, key: str) -> None:
        """Do what a key asks for; a key without a meaning does nothing."""
        if (act := self._keys.get(key)) is not None:
            act()

    def _replay(self) -> None:
        if self._forward is None:
            self._teller.say("there is no URL to replay to: start with --forward http://127.0.0.1:3000/...", "yellow")
        elif (request := self._chosen()) is not None:
            self._receiving.replay(request.number)

    def _details(self) -> None:
        if (request := self._chosen()) is not None:
            details = self._receiving.painter.details(request, self._receiving.address)
            self._teller.details(details, self._receiving.ledger.facts(request.number))

    def _choose(self, step: int) -> None:
        ring = self._receiving.ring
        number = ring.newest if self._number is None else self._number
        wanted = ring.get(number + step) if ring.get(number) is not None else next(iter(ring.newest_first(1)), None)
        if wanted is None:
            self._teller.say("there is no other request", "yellow")
            return
        self._number = wanted.number
        self._teller.chosen(self._receiving.painter.picture(wanted))

    def _follow(self) -> None:
        self._number = None
        self._teller.say("the newest request is chosen")

    def _open(self) -> None:
        command = self._opener()
        if command is None:
            self._teller.say(f"no program here opens a browser; the page is at {self._receiving.page}")
            return
        self._opened = [one for one in self._opened if one.poll() is None]
        nowhere = subprocess.DEVNULL  # a browser for terminals must not take ours
        try:
            self._opened.append(
                subprocess.Popen(
                    [*command, self._receiving.page], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
                )
            )
        except OSError as error:
            self._teller.say(f"{command[0]}: {error.strerror}; the page is at {self._receiving.page}", "yellow")

    def _opener(self) -> list[str] | None:
        if (own := self._environment.get("BROWSER")) is not None:
            return shlex.split(own.split(":")[0])
        return next(([name] for name in _OPENERS if shutil.which(name) is not None), None)

    def _chosen(self) -> CaughtRequest | None:
        ring = self._receiving.ring
        request = ring.get(ring.newest if self._number is None else self._number)
        if request is None:
            gone = "nothing has come yet" if self._number is None else f"#{self._number} has gone: newer ones took its place"
            self._teller.say(gone, "yellow")
        return request

    def _say_lines(self, text: str) -> None:
        for line in text.split("\n"):
            self._teller.say(line)
