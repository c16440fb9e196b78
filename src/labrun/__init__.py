"""labrun: the laboratory on the computer you already own.

Rooms, top to bottom: `cli` and `client` (through the API only), `bootstrap` and `settings`
(plug concrete parts together), `server` (HTTP), `worker` (the loops), `engines`, `store`,
`capture` (the world), `wire` (what crosses the API), `core` (pure decisions). `shim` stands alone,
and so does `metrics`, which scripts import.
"""

__version__ = "0.1.0"
__all__ = ["__version__", "log_metric"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labrun.metrics import log_metric


def __getattr__(name: str) -> object:
    """Load `log_metric` when a script asks for it: commands and supervisors start without."""
    if name == "log_metric":
        from labrun.metrics import log_metric  # start-up time

        return log_metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
