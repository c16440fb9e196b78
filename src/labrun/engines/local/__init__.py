"""This machine: one supervisor per attempt, and a lease that cannot lie.

`engine.py` answers the worker, `control.py` knows the control files, `launcher.py` hands attempts to
the zygote, `conversation.py` talks to live supervisors, `changes.py` sees ends as they happen,
`clearing.py` kills what a dead supervisor left behind. Never here: what to do about any of it.
"""
