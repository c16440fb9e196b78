from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core import ids
from labrun.core.ids import Label, RunId


@given(st.binary(min_size=5, max_size=16), st.integers(0, 50_000))
def test_every_new_run_id_is_recognised(entropy: bytes, days: int) -> None:
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    run_id = ids.new_run_id(now, entropy)
    assert ids.is_run_id(run_id)
    assert run_id.startswith(f"{now:%Y-%m-%d}_")


def test_different_entropy_gives_different_ids_of_the_same_day() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    made = {ids.new_run_id(now, number.to_bytes(5, "big")) for number in range(2000)}
    assert len(made) == 2000


def test_date_of_a_run_id_is_that_of_utc() -> None:
    late_evening = datetime(2026, 11, 20, 1, 0, tzinfo=timezone(timedelta(hours=14)))
    assert ids.new_run_id(late_evening, b"\0" * 5).startswith("2026-11-19_")


@pytest.mark.parametrize("text", ["", "2026-11-20", "2026-11-20_k3f9x2a", "2026-11-20_k3f9xilo", "2026-11-20_K3F9X2AB"])
def test_what_is_not_a_run_id_is_not_taken_for_one(text: str) -> None:
    assert not ids.is_run_id(text)


@given(st.integers(1, 10**9))
def test_a_label_reads_back_in_all_its_spellings(number: int) -> None:
    label = ids.label_of(number)
    for spelling in (label, label.lower(), f"exp{number}", str(number), f"EXP-{number:012d}"):
        assert ids.label_number(spelling) == number


@pytest.mark.parametrize("text", ["", "EXP-", "EXPERIMENT-3", "EXP-3a", "-3", "3.0", " 3", "EXP--3", "9" * 40])
def test_what_is_not_a_label_is_not_taken_for_one(text: str) -> None:
    assert ids.label_number(text) is None


@given(st.text(max_size=300), st.integers(1, 60))
def test_a_slug_is_safe_in_every_file_system_whatever_the_name(name: str, limit: int) -> None:
    made = ids.slug(name, limit)
    assert len(made) <= limit
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not made.startswith("-")
    assert not made.endswith("-")


def test_a_folder_is_named_after_label_and_name_else_target() -> None:
    label = Label("EXP-054")
    assert ids.folder_name(label, "Planck + BAO: MCMC", "fit.py") == "EXP-054-planck-bao-mcmc"
    assert ids.folder_name(label, None, "src/fit.py") == "EXP-054-src-fit-py"
    assert ids.folder_name(label, "🚀", "fit.py") == "EXP-054"


def test_an_attempt_is_named_after_its_experiment() -> None:
    assert ids.attempt_id(RunId("2026-11-20_k3f9x2ab"), 2) == "2026-11-20_k3f9x2ab.2"
