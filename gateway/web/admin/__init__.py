"""The admin listener: health, metrics, reload, and the API for operators."""
