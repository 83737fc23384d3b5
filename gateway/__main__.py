"""Lets `python -m gateway` run the command."""

from gateway.cli import main

if __name__ == "__main__":
    main()
