"""The admin listener: health, metrics, the API for operators."""
