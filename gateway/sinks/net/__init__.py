"""Connections to the world, which all sinks share.

dial             from a host to a connected socket
  address_guard    which addresses may be dialled
  trust            certificates and authorities
http_client      one HTTP request and what its answer means
  http_connection  connections that are kept between requests
  proxy            the way through an HTTP proxy
  http_failures    what an error of a connection means
  http_request     the head of a request; pure
  http_answer      the bytes of an answer; pure
  excerpt          the part of an answer that people may see
probe            the steps of `gateway check --probe`
"""
