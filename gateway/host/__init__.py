"""This machine: the only source of time, randomness, environment variables and signals, and the code for files and threads."""
