"""The sink that calls an HTTP endpoint."""
