"""wrk, the load of every slice that lasts for a given time, and the numbers in what it prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from msgspec import Struct

_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}

# The offsets of the requests are read at the start, so that Lua does no work per request except to return one of them.
_SCRIPT = """
local file = io.open("{requests}", "rb")
local all = file:read("*a")
file:close()
local requests, at = {{}}, 1
while at <= #all do
  local length = tonumber(all:sub(at, at + 7))
  requests[#requests + 1] = all:sub(at + 8, at + 7 + length)
  at = at + 8 + length
end
all = nil
local next_one = 0
request = function()
  next_one = next_one + 1
  if next_one > #requests then next_one = 1 end
  return requests[next_one]
end
"""


class Load(Struct, frozen=True):
    """The report of wrk on one slice."""

    requests: int
    """Requests that were answered."""
    seconds: float
    per_second: float
    p50_us: float
    p99_us: float


def load(requests: Path, port: int, *, connections: int, seconds: int) -> Load:
    """Send the requests of a file in order, and again from its beginning. Raises RuntimeError on any answer but a 2xx."""
    script = requests.with_suffix(".lua")
    script.write_text(_SCRIPT.format(requests=requests))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", str(script)]
    said = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    return parse(said.stdout)


def parse(text: str) -> Load:
    """Read the report of `wrk --latency`. Raises RuntimeError if it tells of errors, and ValueError if it is no report."""
    for trouble in ("Non-2xx", "Socket errors"):
        if trouble in text:
            raise RuntimeError(f"the load met errors:\n{text}")
    requests = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    percentiles = dict(re.findall(r"^\s+(50|99)%\s+(\S+) *$", text, re.MULTILINE))
    if requests is None or rate is None or percentiles.keys() != {"50", "99"}:
        raise ValueError(f"wrk printed no report that this reads:\n{text}")
    return Load(
        requests=int(requests[1]),
        seconds=microseconds(requests[2] + requests[3]) / 1e6,
        per_second=float(rate[1]),
        p50_us=microseconds(percentiles["50"]),
        p99_us=microseconds(percentiles["99"]),
    )


def microseconds(text: str) -> float:
    """Read a time as wrk writes it: a number and `us`, `ms`, `s` or `m`."""
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise ValueError(f"wrk wrote {text!r} for a time")
    return float(found[1]) * _MICROSECONDS[found[2]]
