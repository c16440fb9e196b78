"""What a metric is: points, what counts as a number, and which way is better.

A line of `metrics.jsonl` is either `{"name":…,"value":…,"step":…,"time":…}`, which is what `log_metric`
writes, or any JSON object of names and numbers, which is what people write themselves.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

NAME_LIMIT = 500
"""Characters of a metric's name; a longer one is no name."""

NonFinite = Literal["NaN", "Infinity", "-Infinity"]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Number = Whole | float | NonFinite
"""As in all our JSON: what JSON has no number for is one of three words."""
Goal = Literal["min", "max"]


class Point(Struct, frozen=True, gc=False, omit_defaults=True):
    """One measurement, in the file and in the API."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT)]
    value: Number
    step: Whole | float | None = None
    """Where in the run, as the script counts; it may repeat, go back or be missing."""
    time: float | None = None
    """Unix seconds."""


_WORDS: Mapping[str, NonFinite] = {
    "nan": "NaN",
    "inf": "Infinity",
    "+inf": "Infinity",
    "infinity": "Infinity",
    "+infinity": "Infinity",
    "-inf": "-Infinity",
    "-infinity": "-Infinity",
}
STEP_NAMES = ("step", "global_step", "iteration", "iter", "epoch")
"""In an object of names and numbers, the first of these that is there is the step and no metric."""
_TIME_NAMES = ("time", "timestamp")


def to_number(value: object) -> Number | None:
    """Read what stands for a number; None when it is none.

    >>> to_number(3), to_number(True), to_number("nan"), to_number("0.5"), to_number(10**400)
    (3, 1, 'NaN', None, None)
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        try:
            return value if -(2**63) <= value < 2**63 else float(value)
        except OverflowError:
            return None
    if isinstance(value, float):
        return value if math.isfinite(value) else _WORDS[str(value)]
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def to_float(value: Number) -> float:
    """The number a value stands for.

    >>> to_float(2), to_float("-Infinity")
    (2.0, -inf)
    """
    return float(value)


def points_of(plain: object) -> list[Point]:
    """Read the points one JSON value holds.

    Args:
        plain: As `json` decodes it, its own NaN and Infinity included.

    Returns:
        One point of an object with `name` and `value`; of any other object, one for each number in it.
        Empty when there is none.

    >>> [(p.name, p.value, p.step) for p in points_of({"loss": 0.5, "acc": 1, "epoch": 3, "phase": "fit"})]
    [('loss', 0.5, 3), ('acc', 1, 3)]
    """
    if not isinstance(plain, dict):
        return []
    at = next((at for name in _TIME_NAMES if (at := _time(plain.get(name))) is not None), None)
    if "name" in plain or "value" in plain:
        name, value = writable(plain.get("name")), to_number(plain.get("value"))
        return [Point(name, value, _step(plain.get("step")), at)] if name is not None and value is not None else []
    step_name = next((name for name in STEP_NAMES if _step(plain.get(name)) is not None), None)
    step = _step(plain[step_name]) if step_name is not None else None
    found = []
    for key, one in plain.items():
        name, value = writable(key), to_number(one)
        if name is not None and value is not None and key != step_name and key not in _TIME_NAMES:
            found.append(Point(name, value, step, at))
    return found


def writable(name: object) -> str | None:
    r"""Give a name the form it has everywhere, lone surrogates written out; None when it is none.

    >>> writable("a\udc80"), writable(""), writable(3)
    ('a\\udc80', None, None)
    """
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LIMIT:
        return None
    return name.encode("utf-8", "backslashreplace").decode()[:NAME_LIMIT]


def _step(value: object) -> int | float | None:
    number = to_number(value)
    return None if isinstance(number, str) else number


def _time(value: object) -> float | None:
    """Unix seconds of a number or of an RFC 3339 text."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    number = _step(value)
    return float(number) if number is not None else None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DOWN = _words(
    "loss losses error errors err mse rmse mae mape rmsle nll bce perplexity ppl cost wer cer fid kl residual "
    "residuals chi2 chisq rhat regret divergence brier logloss bpc bpd eer crossentropy"
)
_UP = _words(
    "accuracy acc auc auroc auprc f1 fscore precision recall iou miou dice bleu rouge r2 reward rewards return "
    "returns elbo psnr ssim likelihood loglikelihood ess ndcg mrr mcc kappa sensitivity specificity map50"
)
_QUALIFIERS = _words(
    "train training val valid validation test eval dev mean avg average ema epoch step batch total final best overall "
    "macro micro weighted score scores"
)
"""Words that may follow without changing what is measured: `loss_total`, `f1_macro`. `loss_scale` is no loss."""
_NEGATIONS = frozenset(("neg", "negative", "minus"))
_WORD = re.compile(r"[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*|[A-Z][a-z]+[0-9]*")


def goal_of(name: str) -> Goal | None:
    """Tell by its name whether less or more of a metric is better; None when the name does not say.

    >>> [goal_of(name) for name in ("val/loss", "top5Accuracy", "neg_mean_squared_error", "loss_scale", "lr")]
    ['min', 'max', 'max', None, None]
    """
    words = [word.lower() for word in _WORD.findall(name[:NAME_LIMIT])]
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if word in _DOWN or word in _UP:
            is_negated = any(before in _NEGATIONS for before in words[max(0, at - 3) : at])
            return "max" if (word in _UP) != is_negated else "min"
        if word not in _QUALIFIERS and not re.fullmatch(r"(?:top|at|k)\d+", word):
            return None
    return "max" if words and words[-1] in ("score", "scores") else None
