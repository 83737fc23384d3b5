"""The gateway of a demo: the command `gateway`, which ends with the process that started it, however that one ends.

Its standard input is a pipe that the demo holds open; the end of that pipe is the demo's own.
"""

from __future__ import annotations

from gateway.cli import main
from gateway.host.signals import end_with_input

if __name__ == "__main__":
    end_with_input()
    main()
