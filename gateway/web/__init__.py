"""aiohttp's edge: maps requests to the engine and back, and nothing else."""
