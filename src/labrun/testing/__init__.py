"""Fakes and contract suites, for our own tests and for authors of engines and queue back ends.

Nothing in `labrun` imports this room.
"""
