"""The sink that posts to Slack."""
