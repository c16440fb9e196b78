"""Code from a lab on another machine: fetched as far as it is not here, checked, laid out."""

from typing import Any

from labrun import delivery, settings
from labrun.client.remote import RemoteClient
from labrun.core.errors import NothingFrozen, StoreDamaged


def bring(client: RemoteClient, reference: str, destination: str) -> dict[str, Any]:
    """Restore an experiment's code into a folder of this machine; a wire `Restored` as plain values.

    Raises:
        NothingFrozen: It was submitted without a source folder.
        BadValue: The folder holds something.
        LabError: Something is damaged, or the line was lost for too long; what came is kept for the next try.
    """
    delivery.check_place(destination)
    detail = client.experiment(reference)
    label, tree = detail["experiment"]["label"], detail["tree"]
    if tree is None:
        raise NothingFrozen(label)
    cache = settings.cache_folder()
    with delivery.in_cache(cache):
        code = delivery.open_store(cache)
        missing = delivery.missing(code, client.tree(tree)) if delivery.missing(code, [tree]) else []
        while missing:
            delivery.take(code, cache, client.fetch(missing))
            if len(still := delivery.missing(code, missing)) == len(missing):
                raise StoreDamaged(f"{client.where}: the code of {label}", f"{len(missing)} objects are not given")
            missing = still
        restored = delivery.lay_out(code, label, tree, destination)
    links = [each["path"] for each in detail["not_frozen"] if each["kind"] == "link"]
    if links:
        restored["notices"] = [f"live when it was submitted, so not restored: {', '.join(links)}"]
    return restored
