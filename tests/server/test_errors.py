"""Every error of ours has its HTTP status; nothing of the framework's own shape gets out."""

import pytest

from labrun.core.errors import (
    BadValue,
    DiskFull,
    InternalError,
    LabError,
    NotAllowedNow,
    NotFound,
    RequestError,
    ServerStopping,
    WorldError,
    error_classes,
)
from labrun.server.errors import STATUS, answer, status_of


def blank(cls: type[LabError]) -> LabError:
    """An error of this class, whatever its constructor wants."""
    error = cls.__new__(cls)
    LabError.__init__(error, "why")
    return error


@pytest.mark.parametrize("cls", error_classes().values(), ids=lambda cls: cls.code)
def test_every_error_has_a_status_that_says_whose_fault_it_is(cls: type[LabError]) -> None:
    status = status_of(blank(cls))
    if issubclass(cls, RequestError) or cls.code == "home_busy":
        assert 400 <= status < 500
    else:
        assert 500 <= status < 600


def test_the_nearest_class_of_the_ancestry_decides() -> None:
    assert status_of(BadValue("x", 1, "y")) == STATUS[RequestError]
    assert status_of(NotFound("x", "main")) == 404
    assert status_of(NotAllowedNow("a", "b", "c", "d")) == 409
    assert status_of(DiskFull("/", "writing")) == 507
    assert status_of(ServerStopping()) == status_of(blank(WorldError)) == 503
    assert status_of(blank(InternalError)) == 500


def test_code_message_hint_and_details_travel_in_the_body() -> None:
    response = answer(NotFound("x", "main"))
    assert response.content.code == "not_found"
    assert response.content.message == "no experiment `x` in lab `main`"
    assert response.content.hint
