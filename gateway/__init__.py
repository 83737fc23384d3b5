"""A webhook gateway for Legitmark: verify, deduplicate, store, route, deliver."""

__version__ = "0.1.0"
