"""This machine: the only sources of time, randomness, environment, signals and files that grow."""
