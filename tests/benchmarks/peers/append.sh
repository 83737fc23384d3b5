#!/bin/sh
# What Debian's `webhook` runs for each request: it appends the body, its only argument, to a file.
printf '%s\n' "$1" >> webhooks.jsonl
