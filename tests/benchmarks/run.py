"""Measures the figures that the claims of the README rest on, and exits with 1 if one misses its bound.

    python -m tests.benchmarks.run [--size full|quick|tiny] [--only acks,paced] [--json dist/bench.json]

`make bench` and `make bench-quick` run it. Run it alone: two cores are all that it needs, and all that it has. README.md in this
folder says what each figure means.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from tests.benchmarks import acks, deliveries, lifetime, machine, neighbours, onlookers, pages, routing
from tests.benchmarks.bench import SIZES, Bench, bench
from tests.benchmarks.figures import Figure, Skipped, document, missed, shown, spread, table

PARTS: Mapping[str, Callable[[Bench], Iterator[Figure | Skipped]]] = {
    "acks": acks.against_bare,
    "one-connection": acks.one_connection,
    "end-to-end": deliveries.end_to_end,
    "alertmanager": neighbours.alertmanager,
    "backlog": deliveries.backlog,
    "paced": deliveries.paced,
    "start": lifetime.start,
    "duplicates": acks.duplicates,
    "ledger": acks.ledger,
    "purging": acks.purging,
    "watched": onlookers.watched,
    "pages": pages.figures,
    "receivers": neighbours.receivers,
    "routing": routing.figures,
    "memory": lifetime.memory,
}
"""The parts that can be measured, in the order in which they are."""


def main() -> int:
    parser = argparse.ArgumentParser(description="measure the gateway")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--only", help=f"parts to measure, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, help="write the figures with all samples here, too")
    given = parser.parse_args()
    parts = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if lacking := machine.missing():
        print(f"skipped: {lacking}")
        return 0
    facts = {
        "size": given.size,
        "commit": machine.commit(),
        "begun_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **machine.facts(),
    }
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    machine.move_to_load_core()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder, bench(Path(folder), SIZES[given.size]) as made:
        figures, skipped, failed = _measure(made, parts)
    seconds = round(time.monotonic() - begun)
    print(f"\n{table(figures, skipped)}\n\n{seconds} s")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        told = document(figures, skipped, {**facts, "seconds": seconds, "failed": failed})
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
    for figure in missed(figures):
        print(f"missed: {figure.name}: {shown(spread(figure.samples).median)}")
    return 1 if missed(figures) or failed else 0


def _measure(made: Bench, parts: list[str]) -> tuple[list[Figure], list[Skipped], list[str]]:
    """Return the figures, what was skipped, and the parts that failed. One that fails does not cost the others."""
    figures: list[Figure] = []
    skipped: list[Skipped] = []
    failed: list[str] = []
    for part in parts:
        begun = time.monotonic()
        try:
            for result in PARTS[part](made):
                if isinstance(result, Skipped):
                    skipped.append(result)
                else:
                    figures.append(result)
                    print(f"{result.name}: {shown(spread(result.samples).median)} {result.unit}", flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(part)
        made.clear()
        print(f"    {part}: {time.monotonic() - begun:.0f} s", flush=True)
    return figures, skipped, failed


if __name__ == "__main__":
    sys.exit(main())
