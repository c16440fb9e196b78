"""Speaks the API over the Unix socket; starts the server when none listens.

Front ends come in. Never here: a private way into server, worker or store. Kept light: the
commands people type hourly import nothing beyond `_socket`, `json` and this package.
"""
