"""labrun: the laboratory on the computer you already own.

Rooms, top to bottom: `cli` and `client` (through the API only), `bootstrap` and `settings`
(plug concrete parts together), `server` (HTTP), `worker` (the loops), `engines`, `store`,
`capture` (the world), `wire` (what crosses the API), `core` (pure decisions). `shim` stands alone.
"""

__version__ = "0.1.0"
