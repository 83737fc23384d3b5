"""`gateway.toml`: found, decoded into structs, checked; all problems at once."""

from gateway.config.files import find
from gateway.config.load import load, load_admin, load_store
from gateway.config.settings import Config

__all__ = ["Config", "find", "load", "load_admin", "load_store"]
