import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.errors import BadValue
from labrun.core.printed_metrics import printed_points, reader_of

Found = list[tuple[str, object, object]]


def found(source: str, text: str) -> Found:
    return [(point.name, point.value, point.step) for point in printed_points(reader_of(source), text)]


@pytest.mark.parametrize(
    ("source", "text", "points"),
    [
        ("json", '{"loss": 0.5, "step": 3}', [("loss", 0.5, 3)]),
        ("json", '2026-11-20 INFO {"name": "loss", "value": 1e-3}', [("loss", 0.001, None)]),
        ("json", '{"loss": NaN} trailing', [("loss", "NaN", None)]),
        ("json", "{not json}\n{", []),
        ("json", "[" * 5000 + '{"a":' * 500, []),
        ("key=value", "step=3 loss=0.25, acc=91.5%", [("loss", 0.25, 3), ("acc", 91.5, 3)]),
        ("key=value", "epoch: 2 - loss: 1.5e-3 - val_loss: inf", [("loss", 0.0015, 2), ("val_loss", "Infinity", 2)]),
        ("key=value", "{'loss': 0.5, 'epoch': 1.0}", [("loss", 0.5, 1.0)]),
        ("key=value", "ETA: 0:05, at 12:30:45, v=1.2.3, host=10.0.0.1, path=/a/1", []),
        ("key=value", "train/loss=nan lr = 1_000", [("train/loss", "NaN", None), ("lr", 1000, None)]),
        ("keyvalue", "a=1", [("a", 1, None)]),
        ("epoch {step}: loss {loss}", "[rank 0] epoch  12: loss -2.5E+3 (best)", [("loss", -2500.0, 12)]),
        ("Epoch {epoch}/{} loss={loss}", "Epoch 3/100 loss=.5", [("loss", 0.5, 3)]),
        ("{name}: {value}", "  chi2/dof: 1.07", [("chi2/dof", 1.07, None)]),
        ("acc {acc}%", "acc 91%\nacc x%", [("acc", 91, None)]),
        ("R-hat [{rhat}]", "R-hat [1.01]", [("rhat", 1.01, None)]),
        ("a {a}", "A 1", []),
    ],
)
def test_lines_are_read_as_asked(source: str, text: str, points: Found) -> None:
    assert found(source, text) == points


def test_progress_bars_and_colours_do_not_hide_numbers() -> None:
    text = "\r 10%|#   | loss=3\r 20%|##  | loss=\x1b[31m2\x1b[0m\r\n\x1b]0;title\x07loss=1"
    assert [value for _, value, _ in found("key=value", text)] == [3, 2, 1]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "loss",
        "{step}",
        "{name}",
        "{value}",
        "{}",
        "{a} {a}",
        "{name} {value} {x}",
        "{a}" * 30,
        "{" + "x" * 501 + "}",
    ],
)
def test_a_pattern_that_measures_nothing_is_refused(source: str) -> None:
    with pytest.raises(BadValue, match="metrics_from"):
        reader_of(source)


@pytest.mark.parametrize(
    "source", ["json", "key=value", "{} {} {} {a}", "{a}{b}{c}{d}{e}x", "{name}={value}", "a{}a{}a{x}"]
)
@pytest.mark.parametrize("piece", ["a", "1", "a=1", "1.", "{", '{"a":', "a ", "-", "1e", "\x1b[", "'a':"])
def test_no_line_takes_long_whatever_it_holds(source: str, piece: str) -> None:
    begun = time.process_time()
    found(source, piece * 100_000)
    assert time.process_time() - begun < 2.0


@given(st.text(), st.sampled_from(["json", "key=value", "{name}: {value}", "x {x}"]))
def test_any_text_can_be_printed(text: str, source: str) -> None:
    for name, _, _ in found(source, text):
        name.encode()


@given(st.text(alphabet="ab{}[]()*+?.\\^$| 1", max_size=30))
def test_a_pattern_is_understood_or_refused_and_never_an_error(source: str) -> None:
    try:
        read = reader_of(source)
    except BadValue:
        return
    read("a 1 b 2")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was_printed(value: float) -> None:
    assert found("x is {x}", f"x is {value!r}") == [("x", value, None)]
