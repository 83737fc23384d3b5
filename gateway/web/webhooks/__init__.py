"""The webhook listener: `access` decides who may send, `ingress` reads each request and answers it."""
