"""An HTTP server with every bound set, and its listeners."""
