import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.errors import BadValue
from labrun.core.units import parse_duration, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1", 1), ("100", 100), ("8G", 8 << 30), ("8 GiB", 8 << 30), ("8gb", 8 << 30), ("1.5k", 1536), ("2T", 2 << 40)],
)
def test_sizes_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "0", "-1", "8X", "G", "eight", "1e3", "8GG", "0.1", "9" * 400, "1,5G", "8 G B"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_size(text)
    assert "8G" in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("4h", 14400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        ("250ms", 0.25),
    ],
)
def test_durations_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-5s", "5x", "h", "1h30", "30 1h", "soon", "1e3s", "9" * 400, "11000d", "1:30"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_duration(text)
    assert "1h30m" in caught.value.message


@given(st.integers(1, 2**50))
def test_a_shown_size_is_close_to_the_size(size_bytes: int) -> None:
    assert parse_size(show_size(size_bytes)) == pytest.approx(size_bytes, rel=0.06)
