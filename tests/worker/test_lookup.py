"""What people type finds the experiment they mean, open or ended, or says why not."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    """Three ended experiments, one that runs, one that waits."""
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("lookup") / "home")
    found.start()
    for name in ("alpha", "twin", "twin"):
        found.wait_ended(found.submit("/bin/true", name=name)["run_id"])
    running = found.submit("/bin/sleep", "1000", name="running")
    found.submit("/bin/true", name="waiting")
    wait_until(lambda: found.show(running["run_id"])["experiment"]["step"] == "running", 20, "it runs")
    yield found
    found.stop()


def label_of(lab: LaboratoryUnderTest, reference: str) -> str:
    return str(lab.show(reference)["experiment"]["label"])


@pytest.mark.parametrize(
    ("reference", "label"),
    [
        ("EXP-001", "EXP-001"),
        ("EXP-004", "EXP-004"),
        ("alpha", "EXP-001"),
        ("running", "EXP-004"),
        ("waiting", "EXP-005"),
        ("latest", "EXP-005"),
        ("latest~1", "EXP-004"),
        ("latest~4", "EXP-001"),
    ],
)
def test_label_name_and_latest_find_open_and_ended_ones(lab: LaboratoryUnderTest, reference: str, label: str) -> None:
    assert label_of(lab, reference) == label


@pytest.mark.parametrize("label", ["EXP-001", "EXP-004", "EXP-005"])
def test_a_run_id_and_a_unique_prefix_of_it_find_the_same(lab: LaboratoryUnderTest, label: str) -> None:
    run_id = lab.show(label)["experiment"]["run_id"]
    assert label_of(lab, run_id) == label_of(lab, run_id[:-1]) == label


@pytest.mark.parametrize("reference", ["EXP-006", "EXP-000", "nobody", "latest~5", "latest~x", "alph", "202", "/etc"])
def test_what_fits_nothing_is_not_found(lab: LaboratoryUnderTest, reference: str) -> None:
    with pytest.raises(Refused) as refusal:
        lab.show(reference)
    assert refusal.value.code == "not_found"


@pytest.mark.parametrize(("reference", "count"), [("twin", 2), ("20", 0), ("2026", None)])
def test_what_fits_several_lists_them_and_too_short_a_prefix_is_none(
    lab: LaboratoryUnderTest, reference: str, count: int | None
) -> None:
    shown: list[dict[str, Any]] = lab.call("GET", "/v1/labs/main/experiments")["experiments"]
    year = shown[0]["run_id"][:4]
    with pytest.raises(Refused) as refusal:
        lab.show(year if count is None else reference)
    if count == 0:
        assert refusal.value.code == "not_found"
    else:
        assert refusal.value.code == "ambiguous_reference"
        assert len(refusal.value.body["details"]) == (5 if count is None else count)
