"""Thousands of slow clients in one process: they hold connections, send a byte a second, and reconnect when cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PRESS = """
import errno, json, resource, selectors, socket, sys, time
asked = json.loads(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
kinds = [kind.encode("latin-1") for kind in asked["kinds"]]
selector = selectors.DefaultSelector()

def connect(number):
    client = socket.socket()
    client.bind((asked["sources"][number % len(asked["sources"])], 0))
    client.setblocking(False)
    client.connect_ex(tuple(asked["address"]))
    selector.register(client, selectors.EVENT_WRITE, number)

def first(client, number):
    kind = kinds[number // len(asked["sources"]) % len(kinds)]
    if kind:
        client.send(kind)
    selector.modify(client, selectors.EVENT_READ, number)

back, drip, told = [], time.monotonic() + 1, False
for number in range(asked["number"]):
    connect(number)
while True:
    for key, events in selector.select(0.05):
        try:
            if events & selectors.EVENT_WRITE:
                first(key.fileobj, key.data)
            elif not key.fileobj.recv(4096):
                raise ConnectionResetError
        except OSError:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            back.append((time.monotonic() + asked["pause"], key.data))
    now = time.monotonic()
    while back and back[0][0] <= now:
        connect(back.pop(0)[1])
    if now >= drip:
        drip = now + 1
        for key in list(selector.get_map().values()):
            if key.events == selectors.EVENT_READ and kinds[key.data // len(asked["sources"]) % len(kinds)]:
                try:
                    key.fileobj.send(b"a")
                except OSError:
                    pass
        if not told:
            print("pressing", flush=True)
            told = True
"""


@contextmanager
def pressed(
    address: tuple[str, int], sources: Sequence[str], kinds: Sequence[bytes], number: int, pause: float
) -> Iterator[None]:
    """Keep `number` slow clients connected in this block, from each of the source addresses in turn.

    Args:
        kinds: the bytes that a client sends at once; one that sends any sends another byte each second.
        pause: seconds until a client that was cut off reconnects.
    """
    asked = {
        "address": address,
        "sources": list(sources),
        "kinds": [kind.decode("latin-1") for kind in kinds],
        "number": number,
        "pause": pause,
    }
    process = subprocess.Popen([sys.executable, "-c", _PRESS, json.dumps(asked)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"pressing\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()  # type: ignore[union-attr]
