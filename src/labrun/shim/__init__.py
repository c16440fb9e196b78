"""The supervisor of one attempt, and the zygote that forks it.

`supervise.py` starts the command, holds the lease, waits, writes `started` and `exit`. Never here:
anything beyond the standard library, any import from the rest of this house, so that the folder can
travel to another host as it is.
"""
