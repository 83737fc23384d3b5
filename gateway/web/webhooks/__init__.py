"""The listener for webhooks."""
