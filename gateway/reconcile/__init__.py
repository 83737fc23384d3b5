"""Reconciliation: asks Legitmark's API for the present state of service requests, and tells where it differs from ours.

legitmark_api  one question, and what its answer means
known_states   the states that the gateway knows, as a narrow protocol
  ledger_states  the same from the rows of the ledger
  stored_states  the same from the messages themselves, until the ledger has them all
jobs           what was asked for, and how far it is (job_list: all of them)
  asked_acts   keeps what people asked for one by one, in the list of acts
  inquiries    questions of people about one request, at its page
reconciler     the loop: the next question that is due, one at a time
announcements  tells the routes about a confirmed disagreement
gaps           begins a reconciliation by itself after a pause of the sender

`core/reconciliation.py` decides; nothing here does.
"""
