"""A new experiment from an old one, through a real server: what is the same, what is said, what is refused."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from labrun.core.line import encode_line
from labrun.store.chain import CancelledWaiting
from labrun.store.journal import Journal
from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, journal

EXPERIMENTS = "/v1/labs/main/experiments"
SCRIPT = """\
import os, pathlib, sys
print(sys.argv[1:], os.environ.get("A"), os.environ["LAB_SEED"], VERSION)
(pathlib.Path(os.environ["LAB_OUTPUT_PATH"]) / "model.pt").write_text("weights")
for word in sys.argv[1:]:
    if word.startswith("--from="):
        print(pathlib.Path(word[7:]).read_text())
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("rerun") / "home", settings="slots = 4\n")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").touch()
    (tmp_path / "project/t.py").write_text("VERSION = 1\n" + SCRIPT)
    (tmp_path / "project/c.yaml").write_text("one\n")
    (tmp_path / "stars.csv").write_text("1,2\n")
    return tmp_path / "project"


def post(lab: LaboratoryUnderTest, project: Path, **fields: Any) -> dict[str, Any]:
    """Run a description to its end."""
    body = {"script": "t.py", "cwd": str(project), "python": sys.executable, **fields}
    return lab.wait_ended(lab.call("POST", EXPERIMENTS, body)["experiment"]["run_id"])


def rerun(lab: LaboratoryUnderTest, reference: str, key: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"kind": "requeue", "by": "ada", "variables": {"PATH": os.environ["PATH"], "A": "now"}, **fields}
    found: dict[str, Any] = lab.call("POST", f"{EXPERIMENTS}/{reference}/rerun", body, key=key)
    return found


def ended(lab: LaboratoryUnderTest, answer: dict[str, Any]) -> dict[str, Any]:
    return lab.wait_ended(answer["accepted"]["experiment"]["run_id"])


def spec_of(lab: LaboratoryUnderTest, shown: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(journal(lab.folder(shown) / "events.jsonl"))["spec"]
    return found


def printed(lab: LaboratoryUnderTest, shown: dict[str, Any]) -> str:
    return (lab.folder(shown) / "attempts/1/stdout.log").read_text()


def refusal(lab: LaboratoryUnderTest, reference: str, **fields: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        rerun(lab, reference, **fields)
    return str(refused.value.code), refused.value.body["message"]


# --- the same again


def test_a_resubmit_is_the_same_but_for_its_parent(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(
        lab, project, args=["--lr", "1"], name="fit", note="why", tags=["a"], config="c.yaml",
        inputs={"stars": "../stars.csv"}, priority=7, resources={"cpus": 1}, hypothesis="it fits",
    )  # fmt: skip
    (project / "t.py").write_text("VERSION = 2\n" + SCRIPT)
    (project / "c.yaml").write_text("two\n")
    answer = rerun(lab, old["label"], kind="resubmit")
    new = ended(lab, answer)
    assert (answer["label"], answer["code"], answer["before"]) == (old["label"], "same", answer["after"])
    assert (new["status"], new["parent"], new["definition"]) == ("succeeded", old["run_id"], old["definition"])
    assert new["user"] == "ada"
    before, after = spec_of(lab, old), spec_of(lab, new)
    for spec in (before, after):
        for name in ("surroundings", "narrative", "submitted", "user", "host"):
            spec.pop(name, None)
    assert after == before, "seed, words, configuration, resources: everything else"
    assert printed(lab, new) == printed(lab, old).replace("None", "now"), "the frozen code, the caller's variables"
    assert (lab.folder(new) / "submitted/config/c.yaml").read_text() == "one\n"


def test_code_now_takes_the_folder_and_the_configuration_as_they_are(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, config="c.yaml")
    (project / "t.py").write_text("VERSION = 2\n" + SCRIPT)
    (project / "c.yaml").write_text("two\n")
    answer = rerun(lab, old["label"], kind="resubmit", code="now")
    new = ended(lab, answer)
    assert answer["code"] == "now"
    assert printed(lab, new).endswith(" 2\n")
    assert (lab.folder(new) / "submitted/config/c.yaml").read_text() == "two\n"
    assert new["tree"] != old["tree"]
    assert new["definition"] != old["definition"], "another configuration is another question"


def test_the_frozen_code_needs_no_source_folder(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project)
    project.rename(project.with_name("moved"))
    assert ended(lab, rerun(lab, old["label"], kind="resubmit"))["status"] == "succeeded"
    code, message = refusal(lab, old["label"], kind="resubmit", code="now")
    assert (code, "the source folder is not there" in message) == ("no_such_script", True)


def test_the_environment_is_captured_anew_and_the_repository_is_that_of_the_code(
    lab: LaboratoryUnderTest, project: Path
) -> None:
    (project / "requirements.txt").write_text("numpy==1\n")
    old = post(lab, project)
    (project / "requirements.txt").write_text("numpy==2\n")
    new = ended(lab, rerun(lab, old["label"], kind="resubmit", variables={"PATH": os.environ["PATH"], "TZ": "UTC"}))
    then, now = (json.loads((lab.folder(one) / "submitted/environment.json").read_text()) for one in (old, new))
    assert now["locks"] == then["locks"]
    assert now["packages"] == then["packages"]
    assert now["variables"] != then["variables"]
    assert spec_of(lab, new)["surroundings"].get("variables") is not None


def test_data_that_changed_is_said_and_is_another_definition(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, inputs={"stars": str(project.parent / "stars.csv")})
    (project.parent / "stars.csv").write_text("3,4\n")
    answer = rerun(lab, old["label"], kind="resubmit")
    assert answer["accepted"]["notices"] == [
        f"input `stars` is not what {old['label']} read: {project.parent / 'stars.csv'}"
    ]
    assert ended(lab, answer)["definition"] != old["definition"]
    (project.parent / "stars.csv").unlink()
    assert refusal(lab, old["label"], kind="resubmit")[0] == "code_unreadable"


def test_what_was_read_from_standard_input_is_read_again(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    spec = {
        "target": {"kind": "program", "name": "cat", "argv": ["cat"]},
        "source": {"cwd": "/", "cwd_is_live": True},
        "stdin": "spooled",
    }
    body = {"spec": spec, "variables": {"PATH": os.environ["PATH"]}, "stdin": "aGVsbG8K"}
    old = lab.wait_ended(lab.call("POST", EXPERIMENTS, body)["experiment"]["run_id"])
    for code in ("same", "now"):
        new = ended(lab, rerun(lab, old["label"], kind="resubmit", code=code))
        assert printed(lab, new) == "hello\n"
        assert new["definition"] == old["definition"]


def test_one_that_still_runs_may_be_run_again(lab: LaboratoryUnderTest) -> None:
    old = lab.submit("/bin/sh", "-c", "echo $0; exec sleep 1000", "a")
    wait_until(lambda: lab.show(old["run_id"])["experiment"]["step"] == "running", 20, "it runs")
    new = lab.wait_ended(
        rerun(lab, old["label"], mode="replace", arguments=["-c", "exit 3"])["accepted"]["experiment"]["run_id"]
    )
    assert (new["exit_code"], new["parent"]) == (3, old["run_id"])
    assert lab.show(old["run_id"])["experiment"]["step"] == "running"
    lab.call("POST", f"{EXPERIMENTS}/{old['label']}/cancel", {"by": "ada", "is_urgent": True})
    cancelled = lab.wait_ended(old["run_id"])
    assert cancelled["status"] == "cancelled"
    assert rerun(lab, old["label"], is_dry=True)["before"] == ["/bin/sh", "-c", "echo $0; exec sleep 1000", "a"]


def test_a_live_one_runs_live_again_and_it_is_said(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, live=True)
    (project / "t.py").write_text("VERSION = 2\n" + SCRIPT)
    answer = rerun(lab, old["label"], kind="resubmit")
    assert answer["code"] == "now"
    assert f"it runs live in {project}: with what lies there then" in answer["accepted"]["notices"]
    new = ended(lab, answer)
    assert printed(lab, new).endswith(" 2\n")
    assert new["tree"] != old["tree"], "the record says what lay there"


def test_the_same_key_makes_one_experiment(lab: LaboratoryUnderTest) -> None:
    old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    one, two = (rerun(lab, old["label"], key="k" * 16)["accepted"]["experiment"] for _ in range(2))
    assert one["run_id"] == two["run_id"]
    lab.wait_ended(one["run_id"])
    assert rerun(lab, old["label"], key="k" * 16)["accepted"]["experiment"]["run_id"] == one["run_id"]
    with pytest.raises(Refused) as refused:
        rerun(lab, old["label"], key="k" * 16, arguments=["x"])
    assert refused.value.code == "key_reused"


# --- with changes


@pytest.mark.parametrize(
    ("mode", "after"),
    [
        ("append", ["--lr", "1", "data", "--lr", "2"]),
        ("replace", ["--lr", "2"]),
        ("merge", ["--lr", "2", "data"]),
    ],
)
def test_arguments_are_appended_replaced_or_merged(
    lab: LaboratoryUnderTest, project: Path, mode: str, after: list[str]
) -> None:
    old = post(lab, project, args=["--lr", "1", "data"])
    answer = rerun(lab, old["label"], mode=mode, arguments=["--lr", "2"])
    assert answer["after"] == [*answer["before"][:2], *after]
    new = ended(lab, answer)
    assert printed(lab, new).startswith(f"{after} now")
    assert new["definition"] != old["definition"]


def test_an_ambiguous_merge_is_refused(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, args=["a", "b"])
    assert refusal(lab, old["label"], mode="merge", arguments=["c"])[0] == "ambiguous_arguments"


def test_fields_are_changed_and_the_others_are_kept(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, note="why", name="fit", tags=["a"], hypothesis="h", resources={"cpus": 1, "memory": "1G"})
    (project / "d.yaml").write_text("three\n")
    (project.parent / "moons.csv").write_text("5\n")
    changes = {
        "note": "wider",
        "tags": ["b", "c"],
        "resources": {"memory": "2G"},
        "timeout": "1m",
        "priority": "high",
        "seed": 7,
        "env": {"A": "changed"},
        "config": [str(project / "d.yaml")],
        "inputs": {"moons": str(project.parent / "moons.csv")},
        "outputs": ["*.csv"],
        "group": "g",
    }
    new = ended(lab, rerun(lab, old["label"], changes=changes))
    spec = spec_of(lab, new)
    assert (spec["name"], spec["note"], spec["timeout_s"], spec["priority"]) == ("fit", "wider", 60.0, 7)
    assert spec["resources"] == {"cpus": 1, "memory_bytes": 2**31}
    assert (spec["seed"], spec.get("is_seed_drawn", False)) == (7, False)
    narrative = spec["narrative"]
    assert (narrative["hypothesis"], narrative["tags"], narrative["experiment_group"]) == ("h", ["b", "c"], "g")
    assert narrative["parent_run"] == old["run_id"]
    assert printed(lab, new) == "[] changed 7 1\n"
    assert (lab.folder(new) / "submitted/config/d.yaml").read_text() == "three\n"
    assert [data["name"] for data in spec["inputs"]] == ["moons"]
    assert spec["expected_outputs"] == ["*.csv"]


def test_another_python_runs_it(lab: LaboratoryUnderTest, project: Path, tmp_path: Path) -> None:
    old = post(lab, project)
    other = tmp_path / "otherpython"
    other.symlink_to(sys.executable)
    new = ended(lab, rerun(lab, old["label"], changes={"python": str(other)}))
    assert new["command"][0] == str(other)
    assert new["definition"] == old["definition"]
    other.unlink()
    code, message = refusal(lab, new["label"], kind="resubmit")
    assert (code, "the Python it ran with is gone" in message) == ("not_runnable", True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"script": "other.py"}, "script"),
        ({"nam": "x"}, "nam"),
        ({"resources": {"gpus": -1}}, "resources.gpus"),
        ({"config": "relative.yaml"}, "config"),
        ({"inputs": {"stars": "stars.csv"}}, "inputs.stars"),
        ({"python": "python3"}, "python"),
    ],
)
def test_fields_that_cannot_be_changed_are_named(lab: LaboratoryUnderTest, changes: dict[str, Any], told: str) -> None:
    old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    with pytest.raises(Refused) as refused:
        rerun(lab, old["label"], changes=changes)
    assert refused.value.code == "bad_description"
    assert [one["at"] for one in refused.value.body["details"]] == [told]


def test_a_resubmit_takes_no_changes(lab: LaboratoryUnderTest) -> None:
    old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    for fields in ({"arguments": ["x"]}, {"staged": ["outputs/x"]}, {"changes": {"note": "x"}}):
        assert refusal(lab, old["label"], kind="resubmit", **fields)[0] == "bad_value"


def test_asking_only_accepts_nothing_and_freezes_nothing(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project, args=["a"])
    known = lab.call("GET", "/v1/server")["known"]
    answer = rerun(lab, old["label"], arguments=["b", "--from={staged}"], staged=["outputs/model.pt"], is_dry=True)
    assert answer["accepted"] is None
    assert answer["after"][2:] == ["a", "b", "--from={staged}"]
    assert answer["staged"][0]["path"] == "outputs/model.pt"
    assert lab.call("GET", "/v1/server")["known"] == known


# --- staged files


def test_a_staged_file_is_copied_and_its_origin_recorded(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(lab, project)
    answer = rerun(lab, old["label"], arguments=["--from={staged}"], staged=["outputs/model.pt"])
    new = ended(lab, answer)
    copy = lab.folder(new) / "staged/model.pt"
    assert printed(lab, new).startswith(f"['--from={copy}']")
    assert printed(lab, new).endswith("weights\n")
    (staged,) = spec_of(lab, new)["staged"]
    assert (staged["name"], staged["run_id"], staged["path"]) == ("model.pt", old["run_id"], "outputs/model.pt")
    manifest = json.loads((lab.folder(new) / "run_manifest.json").read_text())
    assert manifest["staged"] == [staged]
    assert "a copy of `outputs/model.pt`" in (lab.folder(new) / "README.md").read_text()
    again = ended(lab, rerun(lab, new["label"], kind="resubmit"))
    assert printed(lab, again).endswith("weights\n"), "it is staged again, from where it came from"
    assert again["definition"] == new["definition"]


def test_several_staged_files_are_told_apart_by_name(lab: LaboratoryUnderTest) -> None:
    line = 'echo one > "$LAB_OUTPUT_PATH/a"; echo two > "$LAB_OUTPUT_PATH/b"'
    old = lab.wait_ended(lab.submit("/bin/sh", "-c", line)["run_id"])
    staged = ["outputs/a", "outputs/b"]
    arguments = ["-c", 'cat "$1" "$0"', "{staged:a}", "{staged:b}"]
    new = ended(lab, rerun(lab, old["label"], mode="replace", arguments=arguments, staged=staged))
    assert printed(lab, new) == "two\none\n"
    code, message = refusal(lab, old["label"], arguments=["{staged}"], staged=staged)
    assert (code, "may stand for 2 files" in message) == ("bad_staging", True)


def test_a_staged_file_without_a_placeholder_is_allowed_and_said(lab: LaboratoryUnderTest) -> None:
    old = lab.wait_ended(lab.submit("/bin/sh", "-c", 'echo one > "$LAB_OUTPUT_PATH/a"')["run_id"])
    answer = rerun(lab, old["label"], staged=["outputs/a"])
    assert any("no argument says `{staged}`" in notice for notice in answer["accepted"]["notices"])
    assert (lab.folder(ended(lab, answer)) / "staged/a").read_text() == "one\n"


@pytest.mark.parametrize("given", ["../x", "outputs/nothing", "/etc/passwd", "outputs"])
def test_staging_what_is_not_the_experiments_is_refused(lab: LaboratoryUnderTest, given: str) -> None:
    old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
    assert refusal(lab, old["label"], arguments=["{staged}"], staged=[given])[0] == "bad_staging"
    assert refusal(lab, old["label"], arguments=["{staged}"])[0] == "bad_staging"


def test_a_submit_cannot_claim_staged_files(lab: LaboratoryUnderTest) -> None:
    staged = [{"name": "x", "run_id": "y", "path": "../../x", "sha256": "00", "size_bytes": 1}]
    new = lab.wait_ended(lab.submit("/bin/true", staged=staged)["run_id"])
    assert "staged" not in spec_of(lab, new)


def test_an_original_that_changes_while_it_waits_is_not_used(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    old = lab.wait_ended(lab.submit("/bin/sh", "-c", 'echo one > "$LAB_OUTPUT_PATH/a"')["run_id"])
    blocker = lab.submit("/bin/sleep", "1000", resources={"cpus": os.cpu_count() or 1})
    wait_until(lambda: lab.show(blocker["run_id"])["experiment"]["step"] == "running", 20, "it runs")
    changes = {"resources": {"cpus": 1}}
    waiting = rerun(lab, old["label"], arguments=["{staged}"], staged=["outputs/a"], changes=changes)["accepted"]
    assert waiting["experiment"]["step"] == "waiting"
    (lab.folder(old) / "outputs/a").write_text("two\n")
    lab.call("POST", f"{EXPERIMENTS}/{blocker['label']}/cancel", {"by": "ada", "is_urgent": True})
    new = lab.wait_ended(waiting["experiment"]["run_id"])
    assert (new["status"], new["ending"]) == ("failed", "never_started")
    assert "changed after it was staged" in new["ending_text"]


# --- what has no story, and what was deleted


def test_one_that_was_cancelled_in_line_is_queued_again_but_not_resumed(lab: LaboratoryUnderTest) -> None:
    blocker = lab.submit("/bin/sleep", "1000", resources={"cpus": os.cpu_count() or 1})
    narrative = {"hypothesis": "it is true"}
    waiting = lab.submit("/bin/true", "--lr", "1", resources={"cpus": 1}, timeout_s=60, narrative=narrative)
    copied = rerun(lab, waiting["label"], kind="resubmit")["accepted"]["experiment"]
    assert copied["parent"] == waiting["run_id"], "while it waits it can be copied"
    for one in (waiting, copied, blocker):
        lab.call("POST", f"{EXPERIMENTS}/{one['label']}/cancel", {"by": "ada", "is_urgent": True})
    lab.wait_ended(waiting["run_id"])
    lab.wait_ended(blocker["run_id"])
    lab.stop()
    lab.start()
    told = lab.show(waiting["label"])
    assert (told["narrative"]["hypothesis"], told["timeout_s"]) == ("it is true", 60), "what it should have run is kept"
    description = lab.call("GET", f"{EXPERIMENTS}/{waiting['label']}/description")["description"]
    assert (description["command"], description["timeout"]) == (["/bin/true", "--lr", "1"], 60)
    again = ended(lab, rerun(lab, waiting["label"], kind="resubmit"))
    assert (again["status"], again["parent"], again["definition"]) == (
        "succeeded",
        waiting["run_id"],
        waiting["definition"],
    )
    merged = ended(lab, rerun(lab, waiting["label"], mode="merge", arguments=["--lr", "2"]))
    assert merged["command"] == ["/bin/true", "--lr", "2"]
    with pytest.raises(Refused) as refused:
        lab.call("POST", f"{EXPERIMENTS}/{waiting['label']}/resume", {"by": "ada"})
    assert "lab resubmit" in refused.value.body["hint"]
    assert refusal(lab, waiting["label"], staged=["outputs/a"])[0] == "not_allowed_now"


def test_one_whose_spec_an_older_version_did_not_keep_is_refused(lab: LaboratoryUnderTest) -> None:
    blocker = lab.submit("/bin/sleep", "1000", resources={"cpus": os.cpu_count() or 1})
    waiting = lab.submit("/bin/true", resources={"cpus": 1})
    for one in (waiting, blocker):
        lab.call("POST", f"{EXPERIMENTS}/{one['label']}/cancel", {"by": "ada", "is_urgent": True})
    lab.wait_ended(blocker["run_id"])
    path = lab.home / "labs/main/cancelled.jsonl"
    lines = Journal(path).read(CancelledWaiting)[0]
    path.write_bytes(b"".join(encode_line(structs.replace(line, spec=None)) for line in lines))
    assert refusal(lab, waiting["label"], kind="resubmit")[0] == "not_allowed_now"
    with pytest.raises(Refused, match="was not kept"):
        lab.call("GET", f"{EXPERIMENTS}/{waiting['label']}/description")


def test_a_deleted_one_is_named_and_refused_and_its_child_keeps_its_parent(lab: LaboratoryUnderTest) -> None:
    old = lab.wait_ended(lab.submit("/bin/sh", "-c", 'echo one > "$LAB_OUTPUT_PATH/a"; exit 3')["run_id"])
    child = rerun(lab, old["label"], arguments=["{staged}"], staged=["outputs/a"])
    ended(lab, child)
    lab.call("POST", f"{EXPERIMENTS}/{old['label']}/delete", {"by": "ada"})
    for fields in ({"kind": "resubmit"}, {"staged": ["outputs/a"], "arguments": ["{staged}"]}):
        code, message = refusal(lab, old["label"], **fields)
        assert (code, message.endswith("it is deleted")) == ("not_allowed_now", True)
    with pytest.raises(Refused, match="is deleted"):
        lab.call("POST", f"{EXPERIMENTS}/{old['label']}/resume", {"by": "ada"})
    shown = lab.show(child["accepted"]["experiment"]["run_id"])["experiment"]
    parent = lab.show(shown["parent"])
    assert (parent["experiment"]["label"], parent["experiment"]["deleted_by"]) == (old["label"], "ada")
    assert parent["steps"], "its story is read from the trash"
    again = ended(lab, rerun(lab, shown["label"], kind="resubmit"))
    assert (lab.folder(again) / "staged/a").read_text() == "one\n", "its file is found in the trash"


def test_one_that_is_open_is_not_deleted(lab: LaboratoryUnderTest) -> None:
    old = lab.submit("/bin/sleep", "1000")
    with pytest.raises(Refused) as refused:
        lab.call("POST", f"{EXPERIMENTS}/{old['label']}/delete", {"by": "ada"})
    assert refused.value.code == "not_allowed_now"
    assert f"lab cancel {old['label']}" in refused.value.body["hint"]
    lab.call("POST", f"{EXPERIMENTS}/{old['label']}/cancel", {"by": "ada", "is_urgent": True})
    lab.wait_ended(old["run_id"], sealed=False)
    lab.call("POST", f"{EXPERIMENTS}/{old['label']}/delete", {"by": "ada"})
    assert lab.show(old["label"])["experiment"]["deleted_at"]


def test_a_description_is_accepted_as_it_is_and_is_the_same_definition(lab: LaboratoryUnderTest, project: Path) -> None:
    old = post(
        lab, project, args=["--lr", "1e-3"], config="c.yaml", inputs={"stars": "../stars.csv"}, seed=3, name="fit",
        resources={"cpus": 1}, timeout="90s", metrics_from="json", outputs="*.pt", tags=["a"], expect="more",
    )  # fmt: skip
    told = lab.call("GET", f"{EXPERIMENTS}/{old['label']}/description")
    new = lab.wait_ended(lab.call("POST", EXPERIMENTS, told["description"])["experiment"]["run_id"])
    assert (new["definition"], new["tree"], new["parent"]) == (old["definition"], old["tree"], old["run_id"])
    before, after = spec_of(lab, old), spec_of(lab, new)
    for name in ("narrative", "submitted", "surroundings"):
        before.pop(name, None), after.pop(name, None)
    assert after == before
