"""A webhook gateway for Legitmark: verify, deduplicate, store, route, deliver."""

__version__ = "0.1.0"
SERVER = "legitmark-gateway"
"""How each of its answers names its server (RFC 9110, section 10.2.4): commands know by it that a gateway answers."""
NO_SOURCE = "no source has this path"
"""The answer of the listener for webhooks to a path of no source: commands know the listener by it."""
