// A receiver as the vendor's documentation suggests it for Node.js and Express (docs.svix.com, "How to Verify"), which keeps what
// it got. It commits each webhook with fsync before it answers, and a webhook that comes twice is kept once. It has no deliveries.
"use strict";

const Database = require("better-sqlite3");
const express = require("express");
const { Webhook } = require("svix");

const database = new Database(process.env.PEER_DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec("CREATE TABLE messages (id TEXT PRIMARY KEY, body BLOB NOT NULL)");
const keep = database.prepare("INSERT OR IGNORE INTO messages VALUES (?, ?)");
const verifier = new Webhook(process.env.PEER_SECRET);

const app = express();
app.post("/webhooks/legitmark", express.raw({ type: "application/json" }), (request, response) => {
  try {
    verifier.verify(request.body, request.headers);
  } catch (error) {
    response.status(400).end();
    return;
  }
  keep.run(request.headers["svix-id"], request.body);
  response.status(204).end();
});
app.listen(Number(process.argv[2]), "127.0.0.1");
