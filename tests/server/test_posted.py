import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.errors import BadDescription, LabError
from labrun.server.posted import Posted, description_of, repeatable, submit_of
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused

EXPERIMENTS = "/v1/labs/main/experiments"


def described(**fields: Any) -> dict[str, Any]:
    return description_of(json.dumps(fields).encode(), "main")


def told(**fields: Any) -> list[str]:
    with pytest.raises(BadDescription) as refusal:
        described(**fields)
    details = refusal.value.details
    assert isinstance(details, list)
    return [f"{item['at']}: {item['message']}" for item in details]


# --- what a body is


def test_what_has_a_spec_is_a_submit_and_every_other_object_a_description() -> None:
    assert Posted({"script": "x"}).is_description
    assert Posted({}).is_description
    assert not Posted({"spec": {}}).is_description
    assert not Posted([]).is_description


def test_the_four_fields_and_a_name_suffice() -> None:
    fields = {"name": "p", "script": "/p/mcmc.py", "config": "p.yaml", "pod_type": "h100", "timeout": "4h"}
    assert described(**fields) == {
        "name": "p",
        "script": "/p/mcmc.py",
        "config": "p.yaml",
        "pod": "h100",
        "timeout": "4h",
        "cwd": "/p",
        "lab": "main",
    }


def test_everything_wrong_is_told_at_once() -> None:
    assert told(scirpt="x", timeout="4x", cwd="here", stdin="spooled", lab="other", resources={"cpu": 1}) == [
        "scirpt: unknown field `scirpt`; did you mean `script`?",
        "timeout: `timeout` is '4x', not a duration above zero such as 90s, 15m or 4h",
        "resources.cpu: unknown field `cpu` of `resources`; did you mean `cpus`?",
        "cwd: `cwd` is 'here', a server needs an absolute path",
        "lab: `lab` is 'other', the address says `main`",
        "stdin: `stdin` cannot be spooled from here; name a file in `inputs` and read that",
    ]


@pytest.mark.parametrize("fields", [{"script": "mcmc.py"}, {"command": "true"}, {"module": "a.b"}])
def test_without_a_folder_nothing_relative_can_be_found(fields: dict[str, Any]) -> None:
    assert told(**fields) == ["cwd: `cwd` is missing: give the absolute folder it runs in, or an absolute `script`"]


def test_numbers_reach_the_command_line_as_they_were_sent() -> None:
    body = b'{"command": ["./sim", 1.10, 1e5, 7, "x"], "cwd": "/", "env": {"A": 3.10, "B": 2}, "timeout": 1.5}'
    found = description_of(body, "main")
    assert found["command"] == ["./sim", "1.10", "1e5", "7", "x"]
    assert found["env"] == {"A": "3.10", "B": "2"}
    assert found["timeout"] == 1.5


def test_the_schema_of_an_editor_is_passed_over() -> None:
    assert "$schema" not in described(**{"$schema": "x", "command": "true", "cwd": "/"})


NUMBERS = st.integers() | st.floats(allow_nan=False)
TEXTS = st.text(max_size=3)
VALUES = (
    st.none() | NUMBERS | TEXTS | st.lists(TEXTS | NUMBERS, max_size=2) | st.dictionaries(TEXTS, NUMBERS, max_size=2)
)


@given(st.dictionaries(st.sampled_from(["script", "command", "cwd", "lab", "stdin", "args", "env", "config"]), VALUES))
def test_any_object_is_read_or_refused(plain: dict[str, Any]) -> None:
    try:
        found = description_of(msgspec.json.encode(plain), "main")
    except LabError as error:
        assert error.code == "bad_description"  # noqa: PT017  the one way to refuse
    else:
        assert found["cwd"].startswith("/")


SPEC = {"target": {"kind": "program", "name": "true", "argv": ["/bin/true"]}, "seed": 7}


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_drawn_seed_follows_from_the_key_and_a_given_one_stays(is_drawn: bool) -> None:
    request = submit_of({"spec": SPEC | {"is_seed_drawn": is_drawn}})
    first, again = repeatable(request, "0123456789"), repeatable(request, "0123456789")
    assert first == again
    assert (first.spec.seed != 7) is is_drawn
    assert repeatable(request, None) is request


# --- through a server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    lab = LaboratoryUnderTest(
        tmp_path_factory.mktemp("posted") / "home", settings="slots = 1\n[pods.small]\ncpus = 1\nmemory = '64M'\n"
    )
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    (folder / "mcmc.py").write_text("import os, sys\nprint(sys.argv[1:], os.environ.get('A'))\n")
    (folder / "planck.yaml").write_text("prior: wide\n")
    return folder


def test_an_experiment_as_people_write_it_runs(served: LaboratoryUnderTest, project: Path) -> None:
    body = {
        "name": "planck",
        "script": "mcmc.py",
        "args": ["--lr", 0.001],
        "cwd": str(project),
        "env": {"A": "b"},
        "config": "planck.yaml",
        "timeout": "1m",
        "hypothesis": "h",
        "tags": ["t"],
    }
    shown = served.call("POST", EXPERIMENTS, body)["experiment"]
    ended = served.wait_ended(shown["run_id"])
    assert (ended["status"], ended["name"]) == ("succeeded", "planck")
    folder = served.folder(ended)
    assert (folder / "attempts/1/stdout.log").read_text() == "['--lr', '0.001'] b\n"
    accepted = (folder / "events.jsonl").read_text().splitlines()[0]
    spec = json.loads(accepted)["spec"]
    assert (spec["narrative"], spec["timeout_s"]) == ({"hypothesis": "h", "tags": ["t"]}, 60.0)
    assert spec["source"]["root"] == str(project)


def test_the_literal_four_fields_run(served: LaboratoryUnderTest, project: Path) -> None:
    body = {"name": "p", "script": str(project / "mcmc.py"), "config": "planck.yaml", "timeout": "4h"}
    shown = served.call("POST", EXPERIMENTS, body)["experiment"]
    assert served.wait_ended(shown["run_id"])["status"] == "succeeded"


def test_the_same_body_with_the_same_key_is_one_experiment(served: LaboratoryUnderTest, project: Path) -> None:
    body = {"script": str(project / "mcmc.py")}
    first = served.call("POST", EXPERIMENTS, body, key="once-and-only-once")["experiment"]
    again = served.call("POST", EXPERIMENTS, body, key="once-and-only-once")["experiment"]
    assert first["run_id"] == again["run_id"]
    with pytest.raises(Refused) as refusal:
        served.call("POST", EXPERIMENTS, body | {"seed": 1}, key="once-and-only-once")
    assert refusal.value.code == "key_reused"


def test_a_pod_nobody_defined_is_refused(served: LaboratoryUnderTest, project: Path) -> None:
    with pytest.raises(Refused) as refusal:
        served.call("POST", EXPERIMENTS, {"script": str(project / "mcmc.py"), "pod_type": "h1000"})
    assert refusal.value.status == 400
    assert "h1000" in refusal.value.body["message"]


def test_pods_of_the_home_and_settings_of_the_project_hold_here_too(served: LaboratoryUnderTest, project: Path) -> None:
    (project / "lab.toml").write_text('[experiment]\ntimeout = "1m"\nnote = "of the project"\n')
    body = {"script": str(project / "mcmc.py"), "pod_type": "small", "note": "of the body"}
    shown = served.call("POST", EXPERIMENTS, body)["experiment"]
    folder = served.folder(served.wait_ended(shown["run_id"]))
    spec = json.loads((folder / "events.jsonl").read_text().splitlines()[0])["spec"]
    assert (spec["timeout_s"], spec["note"], spec["pod"]) == (60.0, "of the body", "small")
    assert spec["resources"] == {"cpus": 1, "memory_bytes": 64 * 2**20}


def test_a_broken_file_of_the_project_is_told(served: LaboratoryUnderTest, project: Path) -> None:
    (project / "lab.toml").write_text("[experiment]\ntimeuot = 1\n")
    with pytest.raises(Refused) as refusal:
        served.call("POST", EXPERIMENTS, {"script": str(project / "mcmc.py")})
    assert refusal.value.code == "bad_description"
    assert "timeuot" in json.dumps(refusal.value.body["details"])


def test_a_bad_description_is_a_400_with_every_error(served: LaboratoryUnderTest) -> None:
    with pytest.raises(Refused) as refusal:
        served.call("POST", EXPERIMENTS, {"scirpt": "x", "cwd": "/", "priority": 11})
    assert (refusal.value.status, refusal.value.code) == (400, "bad_description")
    assert [item["at"] for item in refusal.value.body["details"]] == ["scirpt", "priority"]


def test_a_script_that_is_not_there_is_refused(served: LaboratoryUnderTest, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        served.call("POST", EXPERIMENTS, {"script": str(tmp_path / "gone.py")})
    assert (refusal.value.status, refusal.value.code) == (400, "no_such_script")


def test_the_document_offers_both_bodies(served: LaboratoryUnderTest) -> None:
    document = served.call("GET", "/schema/openapi.json")
    body = document["paths"]["/v1/labs/{lab}/experiments"]["post"]["requestBody"]["content"]["application/json"]
    names = [one["$ref"].rpartition("/")[2] for one in body["schema"]["oneOf"]]
    assert names == ["Submit", "Description"]
    assert {"script", "pod_type", "format"} <= {*document["components"]["schemas"]["Description"]["properties"]}
