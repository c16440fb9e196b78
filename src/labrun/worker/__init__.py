"""The loops: claim, prepare, launch, watch, check, seal, recover.

The only place where decisions of `core` meet the world: timers, task groups, the order of effects.
Never here: SQL, HTTP, argument parsing. `server` and `bootstrap` come in.
"""
