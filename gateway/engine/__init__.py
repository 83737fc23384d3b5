"""What the gateway does between its edges: intake, lanes, janitor, audit. Knows no aiohttp and no SQL."""
