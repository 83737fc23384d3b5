"""Helpers that tests of every folder share. No file here is a test, and no test module imports another one."""
