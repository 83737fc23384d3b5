"""Builds the parts, runs them, swaps the configuration, and stops: the composition of the gateway."""
