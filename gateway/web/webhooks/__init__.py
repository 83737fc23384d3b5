"""The webhook listener: who may send, and the answer to each webhook."""
