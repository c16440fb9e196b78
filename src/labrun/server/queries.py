"""What the query of a list says, read from its words."""

import re
from datetime import UTC, datetime
from typing import cast

from labrun.core.errors import BadValue
from labrun.wire.requests import Comparison, MetricRange, Order


def in_utc(moment: datetime | None) -> datetime | None:
    """A moment without a time zone is taken as UTC."""
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


_ORDERS = {
    "newest": Order(),
    "oldest": Order(is_descending=False),
    "longest": Order("took"),
    "name": Order("name", is_descending=False),
}


def order_of(text: str) -> Order:
    """Read an order: `newest`, `oldest`, `longest`, `name`, a metric, or a minus and a metric."""
    metric = Order("metric", text.startswith("-"), text.removeprefix("-"))
    return _ORDERS.get(text, metric)


def metric_range(text: str) -> MetricRange:
    """Read `val_loss<0.3`.

    Raises:
        BadValue: It is no comparison with a number.
    """
    found = re.fullmatch(r"(.+?)(<=|>=|<|>|=)([^<>=]+)", text)
    try:
        if found is not None:
            return MetricRange(found[1].strip(), cast("Comparison", found[2]), float(found[3]))
    except ValueError:
        pass
    raise BadValue("metric", text, "a name, one of < <= > >= =, and a number, such as val_loss<0.3")
