import pytest

from labrun.core.errors import UnknownOption
from labrun.server.bodies import check_fields
from labrun.wire.requests import Submit

TARGET = {"kind": "program", "name": "true", "argv": ["/bin/true"]}


def test_a_body_of_known_fields_passes() -> None:
    check_fields({"spec": {"target": TARGET, "resources": {"cpus": 1}}, "variables": {"ANY": "x"}}, Submit, "the body")


@pytest.mark.parametrize(
    ("body", "word", "guess"),
    [
        ({"spec": {"target": TARGET, "prioritty": 1}}, "prioritty", "priority"),
        ({"spec": {"target": TARGET | {"args": []}}}, "args", "argv"),
        ({"spec": {"target": TARGET, "resources": {"cpu": 1}}}, "cpu", "cpus"),
        ({"specs": {}}, "specs", "spec"),
    ],
)
def test_a_misspelt_field_is_refused_at_any_depth_with_the_nearest_one(
    body: dict[str, object], word: str, guess: str
) -> None:
    with pytest.raises(UnknownOption) as refusal:
        check_fields(body, Submit, "the body")
    assert f"`{word}`" in refusal.value.message
    assert refusal.value.hint == f"did you mean `{guess}`?"


def test_without_a_near_one_the_known_fields_are_listed() -> None:
    with pytest.raises(UnknownOption) as refusal:
        check_fields({"qqq": 1}, Submit, "the body")
    assert refusal.value.hint == f"known are {', '.join(Submit.__struct_fields__)}"
