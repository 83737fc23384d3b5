"""The sink that appends to a file."""
