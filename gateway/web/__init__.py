"""The HTTP edge, on aiohttp: maps requests to the rooms below it and their results to answers, and nothing else.

`webhooks`, `admin` and `pages` answer requests, with the helpers of `responses`; `door` decides who may ask the
latter two for what; `server` is the HTTP server below them.
"""
