"""Shows requests to people who develop a receiver or look for the reason of a refusal, and answers as they choose.

onlookers       lets people see what comes to the gateway, as long as somebody looks
shown_requests  the requests as the page shows them (play_asked: what pages ask)
pasted_secrets  the secrets that people paste to try them
answering       the answer that a person chooses
receiver_pages  the page of a receiver
receiver        the listener of `gateway play`: every path takes a request
forwarding      passes a request on to a local server
"""
