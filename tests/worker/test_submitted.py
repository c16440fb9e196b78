"""What a submit brings beside the code: stored before the answer, laid out for the script, or refused."""

import hashlib
import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, journal

EXPERIMENTS = "/v1/labs/main/experiments"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("submitted") / "home", settings="slots = 4\n")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "data/sub").mkdir(parents=True)
    (root / "data/x.csv").write_text("1\n")
    (root / "data/sub/y.csv").write_text("2\n")
    (root / ".labignore").write_text("/data\n")
    (root / "code.sh").write_text("ls\n")
    return root


def submit(lab: LaboratoryUnderTest, root: Path | None, *argv: str, **request: Any) -> dict[str, Any]:
    """Hand in a program that runs in a frozen folder; returns the answer."""
    spec: dict[str, Any] = request.pop("spec", {})
    source = {"root": str(root)} if root is not None else {"cwd": "/", "cwd_is_live": True}
    words = list(argv) or ["true"]
    spec = {"target": {"kind": "program", "name": words[0], "argv": words}, "source": source, **spec}
    body = {"spec": spec, "variables": {"PATH": os.environ["PATH"]}, **request}
    found: dict[str, Any] = lab.call("POST", EXPERIMENTS, body, key=uuid.uuid4().hex)
    return found


def run(lab: LaboratoryUnderTest, root: Path | None, *argv: str, **request: Any) -> Path:
    """Hand it in and wait; returns its folder."""
    label = submit(lab, root, *argv, **request)["experiment"]["label"]
    return lab.folder(lab.wait_ended(label))


def spec_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = next(journal(folder / "events.jsonl"))["spec"]
    return found


def refusal(lab: LaboratoryUnderTest, root: Path, **request: Any) -> str:
    before = len(lab.call("GET", EXPERIMENTS)["experiments"])
    with pytest.raises(Refused) as refused:
        submit(lab, root, **request)
    assert len(lab.call("GET", EXPERIMENTS)["experiments"]) == before, "nothing was accepted"
    return f"{refused.value.code}: {refused.value.body['message']}"


# --- stored and laid out


def test_what_lies_in_the_folder_is_the_tree_the_record_names(lab: LaboratoryUnderTest, project: Path) -> None:
    (project / "c.yaml").write_text("lr: 1\n")
    folder = run(lab, project, configs=[str(project / "c.yaml")], stdin="aGk=", spec={"stdin": "spooled"})
    tree = spec_of(folder)["submitted"]
    command = ["git", f"--git-dir={lab.home}/store/code.git", "ls-tree", "-r", "--name-only", tree]
    named = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    lying = sorted(str(path.relative_to(folder / "submitted")) for path in _files(folder / "submitted"))
    assert lying == sorted(named)
    assert {"environment.json", "config/c.yaml", "stdin"} <= set(named)
    for name in named:
        stored = subprocess.run([*command[:2], "show", f"{tree}:{name}"], check=True, capture_output=True).stdout
        assert stored == (folder / "submitted" / name).read_bytes()


def test_it_is_read_only_sealed_and_shared_by_all_that_have_the_same(lab: LaboratoryUnderTest, project: Path) -> None:
    one, other = (run(lab, project, "true", name) / "submitted/environment.json" for name in ("a", "b"))
    assert one.samefile(other)
    assert one.stat().st_mode & 0o777 == 0o444
    evidence = json.loads((one.parents[1] / "attempts/1/seal.json").read_bytes())["evidence"]
    assert evidence["submitted/environment.json"]["sha256"] == hashlib.sha256(one.read_bytes()).hexdigest()


def test_where_files_cannot_have_two_names_they_are_copied(project: Path) -> None:
    # the shared files lie on another file system: what a full table of names or exFAT does, too
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        lab = LaboratoryUnderTest(project.parent / "home", settings="slots = 4\n")
        if Path(elsewhere).stat().st_dev == project.stat().st_dev:
            pytest.skip("needs a second file system")
        try:
            lab.start()
            (lab.home / "store/submitted").rmdir()
            (lab.home / "store/submitted").symlink_to(elsewhere)
            folder = run(lab, project)
            copy = folder / "submitted/environment.json"
            assert copy.stat().st_nlink == 1
            assert copy.stat().st_mode & 0o777 == 0o444
            assert sorted(path.name for path in copy.parent.iterdir() if path.name.startswith(".")) == []
            assert json.loads(copy.read_bytes())["machine"]["host"]
        finally:
            lab.stop()


def test_configurations_of_one_name_get_numbers_and_keep_their_order(lab: LaboratoryUnderTest, project: Path) -> None:
    paths = []
    for name in ("a", "b", "c"):
        (project / name).mkdir()
        (project / name / "fit.yaml").write_text(name)
        paths.append(str(project / name / "fit.yaml"))
    folder = run(lab, project, "sh", "-c", "echo $LAB_CONFIG; IFS=:; cat $LAB_CONFIGS", configs=paths)
    places = [config["place"] for config in spec_of(folder)["configs"]]
    assert places == ["submitted/config/fit.yaml", "submitted/config/fit-2.yaml", "submitted/config/fit-3.yaml"]
    assert (folder / "attempts/1/stdout.log").read_text() == f"{folder}/{places[0]}\nabc"


def test_standard_input_may_be_empty_and_is_still_evidence(lab: LaboratoryUnderTest, project: Path) -> None:
    folder = run(lab, project, "cat", spec={"stdin": "spooled"})
    assert (folder / "submitted/stdin").read_bytes() == b""
    assert (folder / "attempts/1/stdout.log").read_bytes() == b""


def test_inputs_are_links_to_the_data_where_they_are(lab: LaboratoryUnderTest, project: Path) -> None:
    folder = run(
        lab, project, "sh", "-c", "cat $LAB_INPUT_SKY/x.csv $AICHOR_INPUT_PATH/one",
        inputs={"sky": str(project / "data"), "one": str(project / "data/x.csv")},
    )  # fmt: skip
    assert (folder / "attempts/1/stdout.log").read_text() == "1\n1\n"
    assert (folder / "inputs/sky").readlink() == project / "data"
    assert [data["name"] for data in spec_of(folder)["inputs"]] == ["one", "sky"]


def test_a_client_cannot_say_what_only_the_server_knows(lab: LaboratoryUnderTest, project: Path) -> None:
    forged = {
        "source": {
            "root": str(project), "tree": "0" * 40, "links": [{"place": "x", "target": "/etc"}],
            "import_path": ["/etc"], "not_frozen": [{"kind": "link", "path": "/x"}],
        },
        "configs": [{"path": "c", "place": "../../c", "sha256": "0" * 64, "size_bytes": 1}],
        "submitted": "0" * 40,
        "definition": "0" * 64,
    }  # fmt: skip
    folder = run(lab, project, spec=forged)
    spec = spec_of(folder)
    assert spec["source"]["tree"] != "0" * 40
    assert (spec["submitted"], spec["definition"]) != ("0" * 40, "0" * 64)
    assert not {"links", "import_path", "not_frozen"} & set(spec["source"])
    assert "configs" not in spec


# --- links


def test_a_link_above_another_brings_that_one_along_in_any_order(lab: LaboratoryUnderTest, project: Path) -> None:
    for links in (["data/sub", "data"], ["data", "data/sub/"], ["./data", "data"]):
        folder = run(lab, project, "cat", "data/x.csv", "data/sub/y.csv", links=links)
        assert (folder / "attempts/1/stdout.log").read_text() == "1\n2\n"
        assert (folder / "work/data").readlink() == project / "data"


def test_an_answer_is_remembered_for_the_folder_and_an_empty_one_too(lab: LaboratoryUnderTest, project: Path) -> None:
    run(lab, project, links=["data"], remember_links=True)
    remembered = run(lab, project)
    assert (remembered / "work/data").is_symlink()
    assert not (run(lab, project, links=[]) / "work/data").exists(), "said for one, it is not remembered"
    run(lab, project, links=[], remember_links=True)
    assert not (run(lab, project) / "work/data").exists()


def test_a_remembered_place_that_is_gone_is_passed_over(lab: LaboratoryUnderTest, project: Path) -> None:
    run(lab, project, links=["data"], remember_links=True)
    (project / "data").rename(project.parent / "moved")
    assert not os.path.lexists(run(lab, project) / "work/data")


@pytest.mark.parametrize("place", ["/etc", "../x", "data/../..", ".git", ".git/config", "nowhere", "", "."])
def test_a_place_that_cannot_be_linked_is_refused_and_not_remembered(
    lab: LaboratoryUnderTest, project: Path, place: str
) -> None:
    assert "bad_value: link" in refusal(lab, project, links=[place], remember_links=True)
    assert submit(lab, project)["experiment"]["label"]


# --- refused at the door


@pytest.mark.parametrize(
    ("name", "path", "word"),
    [
        ("../../evil", "/etc", "letters"),
        ("", "/etc", "letters"),
        ("a/b", "/etc", "letters"),
        ("path", "/etc", "other than `path`"),
        ("sky", "data", "absolute"),
        ("sky", "/nowhere/at/all", "No such file"),
    ],
)
def test_an_input_that_makes_no_sense_is_refused(
    lab: LaboratoryUnderTest, project: Path, name: str, path: str, word: str
) -> None:
    assert word in refusal(lab, project, inputs={name: path})


def test_inputs_that_would_share_a_variable_are_refused(lab: LaboratoryUnderTest, project: Path) -> None:
    here = str(project / "data")
    assert "differs from `Sky` by more than case" in refusal(lab, project, inputs={"Sky": here, "sky": here})


def test_a_configuration_that_makes_no_sense_is_refused(lab: LaboratoryUnderTest, project: Path) -> None:
    big = project / "data/big.yaml"
    with big.open("wb") as stream:
        stream.truncate(16 * 2**20 + 1)
    os.mkfifo(project / "data/pipe")
    assert "an absolute path" in refusal(lab, project, configs=["c.yaml"])
    assert "is not a file" in refusal(lab, project, configs=[str(project / "data")])
    assert "a file" in refusal(lab, project, configs=[str(project / "data/pipe")])
    assert "a file" in refusal(lab, project, configs=[str(project / "nowhere.yaml")])
    assert "too_big" in refusal(lab, project, configs=[str(big)])


def test_a_source_folder_that_is_gone_is_refused(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    assert "the source folder is not there" in refusal(lab, tmp_path / "nowhere")


@pytest.mark.parametrize("parent", ["EXP-999", "nobody"])
def test_a_parent_that_does_not_exist_is_refused(lab: LaboratoryUnderTest, project: Path, parent: str) -> None:
    spec = {"narrative": {"parent_run": parent}}
    assert "not_found" in refusal(lab, project, spec=spec)


# --- said


def test_what_stays_live_is_said_and_recorded(lab: LaboratoryUnderTest, project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "table.csv"
    outside.write_text("1\n")
    (project / ".netrc").write_text("password x\n")
    answer = submit(lab, project, "cat", str(outside), links=["data"])
    folder = lab.folder(lab.wait_ended(answer["experiment"]["label"]))
    said = "\n".join(answer["notices"])
    assert f"argument outside the frozen copy, not frozen: {outside}" in said
    assert "looks like credentials: .netrc" in said
    recorded = {(live["kind"], live["path"]) for live in spec_of(folder)["source"]["not_frozen"]}
    assert recorded == {("argument", str(outside)), ("link", str(project / "data"))}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
