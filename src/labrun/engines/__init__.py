"""Places to run, one adapter each, behind one protocol (`protocol.py`).

An engine answers; the worker decides. Never here: queue order, retries, another engine, SQL.
Only the worker calls an engine; `bootstrap` builds it.
"""
