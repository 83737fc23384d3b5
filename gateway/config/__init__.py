"""`gateway.toml`: found, decoded into structs, checked; all problems at once."""

from gateway.config.load import find, load
from gateway.config.settings import Config

__all__ = ["Config", "find", "load"]
