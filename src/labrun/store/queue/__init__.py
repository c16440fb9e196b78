"""Queue back ends: what waits, and who holds what runs. One protocol, one contract suite.

`protocol.py` says what every back end does, `sqlite.py` is the default one. The contract suite
lives in `labrun.testing.queue_contract`. Nobody here decides what starts next.
"""
