"""An HTTP server with every bound set, and its listeners.

listeners          opens and stops the servers of webhooks and of the admin API
listen             the sockets of one server
bounded            aiohttp's server with every bound
accepting          accepts only as many connections as there are places (tls: with the certificate of now)
seating            gives places to connections, and takes them back
  places             who holds how many; pure
client_connection  one connection, and its end without a lost request
  framing            whether a request has come whole; pure
  plain_request      reads the one form of request that nearly every webhook has; pure
  short_way          what answers such a request without a task
  drain_times        how long a stop waits for it
"""
