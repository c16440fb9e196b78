"""The supervisor of one attempt, and the zygote that forks it.

`supervise.py` starts the command, holds the lease, waits, writes `started` and `exit`; it is one
file that can travel to another host. Never here: anything beyond the standard library, any import
from this house.
"""
