"""From the claim of a delivery to its settlement: one lane for each sink. Knows no aiohttp and no SQL."""
