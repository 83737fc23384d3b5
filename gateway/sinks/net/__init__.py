"""Connections to the world: dialling, TLS, the guard of addresses, the HTTP client."""
