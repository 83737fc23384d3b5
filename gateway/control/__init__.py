"""What people do to a running gateway: browse, replay, drill, reverify, back up, ask how it is. Knows no aiohttp."""
