"""HTTP over the worker and the store: routes, who may come in, core error to status code.

Never here: queries, scheduling, a decision. `bootstrap` builds it; clients reach it by socket only.
"""
