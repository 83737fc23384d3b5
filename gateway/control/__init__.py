"""The acts of people on a running gateway: browse, replay, drill, reverify, back up, ask for its status. Knows no aiohttp."""
