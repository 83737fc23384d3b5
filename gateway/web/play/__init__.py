"""Shows requests to people who develop a receiver or look for the reason of a refusal, and answers as they choose.

receiver     the listener of `gateway play`: every path takes a request
forwarding   passes a request on to a local server
"""
