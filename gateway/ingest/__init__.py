"""From a request to a commit: verify, decode, route, store. Knows no aiohttp and no SQL."""
