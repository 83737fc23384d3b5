"""Measures the questions about service requests on a store of ten million messages: `make bench-large`.

run         the command: builds the store, runs a gateway on it, the table, the JSON document, the exit code
courses     the courses that service requests take, judged by the gateway's own judge
build       writes the store by SQL, and keeps it in `build/`
questions   what is asked through the admin API
asking      one client that asks, and what a question costs the gateway
upgrade     a database of the schema before the ledger: its start, and the reading into the ledger beside ingest
"""
