"""A receiver as the vendor's documentation suggests it for FastAPI (docs.svix.com, "How to Verify"), which keeps what it got.

It commits each webhook with fsync before it answers, and a webhook that comes twice is kept once. It has no deliveries.
"""

from __future__ import annotations

import os
import sqlite3

from fastapi import FastAPI, Request, Response
from svix.webhooks import Webhook, WebhookVerificationError

database = sqlite3.connect(os.environ["PEER_DATABASE"], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.execute("CREATE TABLE messages (id TEXT PRIMARY KEY, body BLOB NOT NULL)")
verifier = Webhook(os.environ["PEER_SECRET"])


async def receive(request: Request, response: Response) -> None:
    body = await request.body()
    try:
        verifier.verify(body, dict(request.headers))
    except WebhookVerificationError:
        response.status_code = 400
        return
    database.execute("INSERT OR IGNORE INTO messages VALUES (?, ?)", (request.headers["svix-id"], body))
    response.status_code = 204


app = FastAPI()
app.add_api_route("/webhooks/legitmark", receive, methods=["POST"])
