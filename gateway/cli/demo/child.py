"""The gateway of a demo: the command `gateway`, which ends when the demo's process ends, for whatever reason.

Its standard input is a pipe that the demo holds open. When the demo ends, the pipe ends, and so does the gateway.
"""

from __future__ import annotations

from gateway.cli import main
from gateway.host.signals import end_with_input

if __name__ == "__main__":
    end_with_input()
    main()
