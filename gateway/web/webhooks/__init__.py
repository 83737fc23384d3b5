"""The webhook listener: `head` is what a request says, `access` decides who may send, `ingress` answers."""
