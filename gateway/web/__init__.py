"""The HTTP edge, on aiohttp: maps requests to the rooms below it and their results to answers, and nothing else.

`webhooks` and `admin` answer requests, with the helpers of `responses`; `door` decides who may ask the admin listener, and
`pages` are what people see of it; `play` shows requests as they come; `server` is the HTTP server below them.
"""
