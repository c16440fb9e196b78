import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labrun.capture.caller import Caller, process_settings
from labrun.capture.resolve import Submission, resolve
from labrun.core.errors import BadValue, LabError, NoSuchScript, NotRunnable
from labrun.wire.requests import Submit

PODS = {"h100": {"gpus": 1, "memory": "8G", "price_per_hour": 2.5}, "cpu": {"cpus": 4}}


class Person:
    """Somebody in a project folder with a script, data and a configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        (self.folder / "sub").mkdir(parents=True)
        (self.folder / "pyproject.toml").touch()
        (self.folder / "train.py").write_text("print(1)\n")
        (self.folder / "a.yaml").write_text("lr: 1\n")
        (self.folder / "data").mkdir()
        self.python = folder / "venv/bin/python"
        self.python.parent.mkdir(parents=True)
        self.python.symlink_to(sys.executable)
        self.variables: dict[str, str] = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "A": "1"}

    def submit(self, *, here: str = ".", content: bytes | None = None, **description: Any) -> Submission:
        """What a description means for this person; a script unless it says something else."""
        if not {"script", "module", "command"} & set(description):
            description["script"] = "train.py"
        cwd = (self.folder / here).resolve()
        home = self.folder.parent / "home"
        caller = Caller(cwd, self.variables, "ada", "box", home, PODS, process_settings())
        return resolve(description, caller, place_of=lambda field: f"<{field}>", stdin=content)

    def spec(self, **description: Any) -> dict[str, Any]:
        """The spec of what is sent."""
        found: dict[str, Any] = self.submit(**description).request["spec"]
        return found

    def refusal(self, **description: Any) -> str:
        """The message of the error."""
        with pytest.raises(LabError) as refused:
            self.submit(**description)
        return refused.value.message


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    return Person(tmp_path.resolve())


# --- what is sent


def test_all_fields_together_are_a_submit_of_the_wire(ada: Person) -> None:
    sent = ada.submit(
        **{"script": "train.py", "args": ["--lr", 0.5], "name": "n", "note": "w", "priority": "high", "lab": "l"},
        **{"timeout": "1h", "grace": 3, "env": {"B": "2", "A": None}, "pod": "h100", "resources": {"gpus": 2}},
        **{"config": "a.yaml", "inputs": {"sky": "data"}, "outputs": "*.csv", "seed": 7, "links": ["data"]},
        **{"hypothesis": "h", "context": "c", "intent": "i", "expect": "e", "parent": "EXP-1", "group": "g"},
        **{"tags": ["x", "y", "x"], "stdin": "spooled", "python": str(ada.python), "metrics_from": "json"},
        content=b"\x00\xff",
    )
    request = msgspec.convert(sent.request, Submit)
    spec = request.spec
    assert spec.target.argv == (str(ada.python), "train.py", "--lr", "0.5")
    assert (spec.name, spec.note, spec.priority, spec.lab, spec.user, spec.host) == ("n", "w", 7, "l", "ada", "box")
    assert (spec.timeout_s, spec.grace_s, spec.seed, spec.is_seed_drawn, spec.pod) == (3600.0, 3.0, 7, False, "h100")
    assert (spec.resources.gpu_count, spec.resources.memory_bytes) == (2, 8 * 2**30)
    told = spec.narrative
    assert (told.hypothesis, told.context, told.intent, told.expected_outcome) == ("h", "c", "i", "e")
    assert (told.parent_run, told.experiment_group, told.tags) == ("EXP-1", "g", ("x", "y"))
    assert (spec.expected_outputs, spec.metrics_from, spec.stdin) == (("*.csv",), "json", "spooled")
    assert request.configs == (str(ada.folder / "a.yaml"),)
    assert request.inputs == {"sky": str(ada.folder / "data")}
    assert (request.links, request.stdin) == (("data",), b"\x00\xff")
    assert (request.variables["A"], request.variables["B"]) == ("1", "2")


def test_a_seed_is_drawn_when_none_is_given_and_differs(ada: Person) -> None:
    seeds = {ada.spec()["seed"] for _ in range(8)}
    assert len(seeds) > 1
    assert ada.spec()["is_seed_drawn"] is True
    assert "is_seed_drawn" not in ada.spec(seed=0)


def test_paths_count_from_cwd_and_cwd_from_the_caller(ada: Person) -> None:
    (ada.folder / "sub/b.yaml").touch()
    sent = ada.submit(cwd="sub", script="../train.py", config="b.yaml", inputs={"sky": "../data"}, links=["../data"])
    assert sent.request["spec"]["source"] == {"cwd": "sub", "cwd_is_live": False, "root": str(ada.folder)}
    assert sent.request["configs"] == [str(ada.folder / "sub/b.yaml")]
    assert sent.request["inputs"] == {"sky": str(ada.folder / "sub/../data")}
    assert sent.request["links"] == ["data"]


def test_a_tilde_is_the_home_folder_and_a_name_nobody_has_is_a_file(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ada.folder.parent))
    assert ada.submit(config="~/project/a.yaml").request["configs"] == [str(ada.folder / "a.yaml")]
    (ada.folder / "~nobody-here").touch()
    sent = ada.submit(inputs={"odd": "~nobody-here"})
    assert sent.request["inputs"] == {"odd": str(ada.folder / "~nobody-here")}


def test_a_command_may_be_one_text_or_words(ada: Person) -> None:
    assert ada.spec(command="sh -c 'echo a b'")["target"]["argv"] == ["sh", "-c", "echo a b"]
    assert ada.spec(command=["sh", "-c", 1])["target"]["argv"] == ["sh", "-c", "1"]
    assert "<command>" in ada.refusal(command="sh 'open")


def test_the_interpreter_may_be_a_path_a_name_or_nothing(ada: Person) -> None:
    assert ada.spec(python="../venv/bin/python")["interpreter"] == str(ada.folder / "../venv/bin/python")
    ada.variables["PATH"] = str(ada.python.parent)
    assert ada.spec(python="python")["interpreter"] == str(ada.python)
    assert ada.spec()["interpreter"] == str(ada.python)
    assert "interpreter" not in ada.spec(command=["/bin/true"], python="nowhere")


def test_live_runs_in_the_folder_itself(ada: Person) -> None:
    sent = ada.submit(live=True, here="sub", script="../train.py")
    assert sent.request["spec"]["source"] == {
        "cwd": str(ada.folder / "sub"),
        "cwd_is_live": True,
        "is_live": True,
        "root": str(ada.folder),
    }
    assert "live" in sent.notices[-1]


def test_an_empty_text_takes_back_what_a_weaker_layer_says(ada: Person) -> None:
    spec = ada.spec(note="", hypothesis="", intent="i")
    assert "note" not in spec
    assert spec["narrative"] == {"intent": "i"}


def test_standard_input_may_be_empty(ada: Person) -> None:
    assert ada.submit().request.get("stdin") is None
    assert base64.b64decode(ada.submit(stdin="spooled").request["stdin"]) == b""


def test_variables_of_the_surrounding_experiment_do_not_leak_into_one_that_it_submits(ada: Person) -> None:
    ada.variables |= {
        **{
            "LAB_ATTEMPT_KEY": "k",
            "LAB_SEED": "1",
            "LAB_NAME": "outer",
            "LAB_INPUT_PATH": "/i",
            "LAB_INPUT_SKY": "/i/s",
        },
        **{
            "LAB_CONFIG": "/c",
            "LAB_CONFIGS": "/c",
            "LAB_METRICS": "/m",
            "AICHOR_INPUT_PATH": "/i",
            "LAB_OPTION_SEED": "3",
        },
    }
    sent = ada.submit().request["variables"]
    assert sent.keys() == {"PATH", "HOME", "A"}


def test_a_variable_of_ones_own_that_only_looks_like_ours_is_passed_on(ada: Person) -> None:
    ada.variables["AICHOR_INPUT_PATH"] = "/mine"
    assert ada.submit().request["variables"]["AICHOR_INPUT_PATH"] == "/mine"


# --- what is refused

REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "folder gone": ({"cwd": "nowhere"}, "<cwd> 'nowhere' is not a folder that is there"),
    "config is a folder": ({"config": ["a.yaml", "data"]}, "<config> 'data' is not a file; this is a folder"),
    "config gone": ({"config": "b.yaml"}, "<config> 'b.yaml' is not a file that is there"),
    "input gone": ({"inputs": {"sky": "nowhere"}}, "<inputs.sky> 'nowhere' is not a file or folder that is there"),
    "input name": ({"inputs": {"s-k": "data"}}, "<inputs.s-k> 's-k' is not a name of letters"),
    "input called path": ({"inputs": {"Path": "data"}}, "<inputs.Path> 'Path' is not a name of letters, digits"),
    "inputs of one name": ({"inputs": {"a": "data", "A": "data"}}, "<inputs.A> 'A' is not a name that differs"),
    "link gone": ({"links": ["nowhere"]}, "<links> 'nowhere' is not a file or folder that is there"),
    "link outside": ({"links": ["/etc"]}, "<links> '/etc' is not a place below the source folder"),
    "link is the root": ({"links": ["."]}, "<links> '.' is not a place below the source folder"),
    "link and live": ({"links": ["data"], "live": True}, "<links> ['data'] is not wanted with `live`"),
    "output above": ({"outputs": "../x"}, "<outputs> '../x' is not a pattern below"),
    "output empty": ({"outputs": [""]}, "<outputs> '' is not a pattern below"),
    "pod": ({"pod": "h200"}, "<pod> 'h200' is not a pod of this home: cpu, h100"),
    "timeout": ({"timeout": "soon"}, "<timeout> 'soon' is not a duration"),
    "timeout zero": ({"timeout": 0}, "<timeout> 0 is not more than zero"),
    "grace": ({"grace": "-1"}, "<grace> '-1' is not a duration"),
    "memory": ({"resources": {"memory": "much"}}, "<resources.memory> 'much' is not a size"),
    "gpus": ({"resources": {"gpus": "two"}}, "<resources.gpus> 'two' is not a whole number from 0"),
    "priority": ({"priority": "urgent"}, "<priority> 'urgent' is not 1 to 10"),
    "name": ({"name": "n" * 201}, "is not 1 to 200 characters"),
    "parent": ({"parent": ""}, "<parent> '' is not the name of one"),
    "group": ({"group": ""}, "<group> '' is not the name of one"),
    "tag": ({"tags": ["a", ""]}, "<tags> '' is not a word"),
    "text": ({"hypothesis": "a\0b"}, "<hypothesis> 'a\\x00b' is not text in UTF-8 without NUL"),
    "pattern": ({"metrics_from": "nothing"}, "nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_with_its_place_and_value(case: str, ada: Person) -> None:
    description, message = REFUSED[case]
    assert message in ada.refusal(**description)


def test_a_home_without_pods_says_how_to_make_one(ada: Person) -> None:
    caller = Caller(ada.folder, ada.variables, "ada", "box", ada.folder / "home", {}, {})
    with pytest.raises(BadValue, match=r"\[pods\.NAME\]"):
        resolve({"script": "train.py", "pod": "h100"}, caller)


def test_a_python_that_is_none_is_refused(ada: Person) -> None:
    with pytest.raises(NotRunnable, match="<python> names no program"):
        ada.submit(python="a.yaml/python")
    with pytest.raises(NotRunnable, match="<python> names no program"):
        ada.submit(python="no-such-python")


def test_nothing_to_run_is_said(ada: Person) -> None:
    caller = Caller(ada.folder, ada.variables, "ada", "box", ada.folder / "home", {}, {})
    with pytest.raises(LabError):
        resolve({"name": "n"}, caller)
    with pytest.raises(NoSuchScript):
        resolve({"script": "nowhere.py"}, caller)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_config_that_may_not_be_read_is_refused(ada: Person) -> None:
    (ada.folder / "a.yaml").chmod(0)
    assert "<config> 'a.yaml' is not a file that may be read" in ada.refusal(config="a.yaml")


def test_a_link_where_nothing_is_frozen_is_refused(ada: Person) -> None:
    empty = ada.folder.parent / "empty"
    empty.mkdir()
    caller = Caller(empty, ada.variables, "ada", "box", ada.folder / "home", {}, {})
    with pytest.raises(BadValue, match="nothing is frozen here"):
        resolve({"command": ["true"], "links": ["x"]}, caller)


def test_it_is_cheap_to_import() -> None:
    # `lab queue` has a budget for its start: the wire's types and the code store stay out of it
    code = "import sys, labrun.capture.resolve; print(sorted({'msgspec', 'dulwich', 'tomllib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
