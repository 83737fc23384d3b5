"""The sink that sends mail."""
