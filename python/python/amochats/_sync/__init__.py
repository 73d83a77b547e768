"""The blocking classes, generated from ``_async`` by ``python/unasync.py``."""
