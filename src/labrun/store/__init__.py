"""The home on disk: layout, journals, queue back ends, index, code, folders, seals.

Everything that remembers lives here, and all SQL. Never here: decisions, HTTP, waiting on the
world. The worker and the server's read side come in; front ends never do.
"""
