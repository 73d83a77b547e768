"""The asynchronous classes. Their blocking twins in ``_sync`` are generated from these files by
``python/unasync.py``; what differs stands in ``_call.py`` and ``_work.py`` of each."""
