"""Pure decisions: no `async`, no clock, no I/O but the reading of a secret in `values`."""
