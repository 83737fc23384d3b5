"""The HTTP edge, on aiohttp: maps requests to the rooms below it and their results to answers, and nothing else."""
