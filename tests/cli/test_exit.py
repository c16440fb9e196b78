import pytest

from labrun.cli import exit as statuses
from labrun.core.errors import LabError, RequestError, WorldError, error_classes


def test_every_error_code_has_an_exit_status() -> None:
    assert set(error_classes()) == set(statuses.OF_CODE)


def test_the_status_says_whose_fault_it_is() -> None:
    for code, cls in error_classes().items():
        if issubclass(cls, WorldError):
            assert statuses.of_error(code) == 3
        elif issubclass(cls, RequestError):
            assert statuses.of_error(code) in (1, 2)


def test_a_code_of_a_newer_server_counts_as_a_failing_world() -> None:
    assert statuses.of_error("never_heard_of") == statuses.of_error(LabError.code) == 3


@pytest.mark.parametrize(
    ("ending", "code", "error_code", "status"),
    [
        ("exited", 0, None, 0),
        ("exited", 7, None, 7),
        ("signalled", 139, None, 139),
        ("oom", 137, None, 137),
        ("timeout", 143, None, 124),
        ("cancelled", None, None, 130),
        ("lost", None, None, 125),
        ("never_started", None, "errno_2", 127),
        ("never_started", None, "errno_13", 126),
        ("never_started", None, "errno_8", 126),
        ("never_started", None, "store_damaged", 125),
        (None, None, None, 125),
    ],
)
def test_lab_run_ends_with_the_scripts_status_or_a_documented_one(
    ending: str | None, code: int | None, error_code: str | None, status: int
) -> None:
    assert statuses.of_run({"ending": ending, "exit_code": code}, error_code) == status
