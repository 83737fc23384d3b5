"""A webhook gateway for Legitmark: verify, deduplicate, store, route, deliver."""

__version__ = "0.1.0"
SERVER = "legitmark-gateway"
"""How each of its answers names its server (RFC 9110, section 10.2.4): commands know by it that a gateway answers."""
NO_SOURCE = "no source has this path"
"""What the listener for webhooks says of every path that is none of a source's, so that commands know it by its answer."""
