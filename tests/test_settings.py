import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labrun import settings
from labrun.core.errors import BadDescription, BadValue, HomeUnusable, UnknownOption
from labrun.core.layers import lay_over


class Places:
    """A home, a project and a person's own settings, all empty."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project, self.own = folder / "home", folder / "project", folder / "config/labrun"
        for each in (self.home, self.project, self.own):
            each.mkdir(parents=True)

    def merged(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What holds, and from where."""
        found = lay_over([*settings.layers(self.home, self.project), settings.variables()], settings.pods(self.home))
        return found.description, found.origins


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Places(tmp_path)


def told(error: BadDescription) -> list[str]:
    assert isinstance(error.details, list)
    return [f"{item['at']}: {item['message']}" for item in error.details]


# --- who wins


def test_variables_win_over_project_home_and_user(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.own / "config.toml").write_text("[experiment]\npriority = 1\nnote = 'own'\ngrace = '1s'\ntimeout = '1h'\n")
    (places.home / "home.toml").write_text("slots = 2\n[experiment]\npriority = 2\nnote = 'home'\ngrace = '2s'\n")
    (places.project / "lab.toml").write_text("[experiment]\npriority = 3\nnote = 'project'\n")
    monkeypatch.setenv("LAB_OPTION_PRIORITY", "high")
    description, origins = places.merged()
    assert description == {"priority": "high", "note": "project", "grace": "2s", "timeout": "1h"}
    assert origins == {
        "priority": "$LAB_OPTION_PRIORITY",
        "note": f"{places.project}/lab.toml: note",
        "grace": f"{places.home}/home.toml: grace",
        "timeout": f"{places.own}/config.toml: timeout",
    }


def test_nothing_given_is_nothing(places: Places) -> None:
    assert places.merged() == ({}, {})
    assert settings.layers(places.home, None) == []
    assert settings.load(places.home) == settings.Settings()


def test_paths_in_a_projects_file_count_from_the_project(places: Places) -> None:
    (places.project / "lab.toml").write_text(
        "[experiment]\nconfig = 'a.yaml'\nlinks = ['data']\npython = 'venv/bin/python'\ninputs.sky = 'sky.csv'\n"
    )
    description, _ = places.merged()
    assert description == {
        "config": f"{places.project}/a.yaml",
        "links": [f"{places.project}/data"],
        "python": f"{places.project}/venv/bin/python",
        "inputs": {"sky": f"{places.project}/sky.csv"},
    }


def test_numbers_among_variables_are_passed_as_text_and_a_pod_has_its_other_name(places: Places) -> None:
    (places.home / "home.toml").write_text("[pods.small]\ncpus = 1\n[experiment]\npod_type = 'small'\nenv.N = 4\n")
    description, _ = places.merged()
    assert description == {"pod": "small", "resources": {"cpus": 1}, "env": {"N": "4"}}


# --- variables


def test_a_variable_may_give_text_numbers_resources_and_tags(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SEED": str(2**62), "GPUS": "2", "MEMORY": "8G", "TAGS": "a,b,", "NOTE": "7", "NAME": ""}
    for name, text in given.items():
        monkeypatch.setenv(f"LAB_OPTION_{name}", text)
    description, origins = places.merged()
    assert description == {
        "seed": 2**62,
        "resources": {"gpus": 2, "memory": "8G"},
        "tags": ["a", "b"],
        "note": "7",
    }
    assert origins["resources.gpus"] == "$LAB_OPTION_GPUS"


def test_every_variable_that_is_promised_is_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    from labrun.core import faults

    assert set(settings.VARIABLES) <= {*faults.FIELDS, *faults.RESOURCES}
    for name in settings.VARIABLES:
        monkeypatch.setenv(f"LAB_OPTION_{name.upper()}", "5")
    assert settings.variables().description["note"] == "5"


def test_every_variable_is_on_the_page() -> None:
    page = (Path(__file__).parents[1] / "docs/reference/variables.md").read_text(encoding="utf-8")
    named = re.findall(r"`LAB_OPTION_(\w+)` \| `(--[a-z-]+)`", page)
    assert sorted(name.lower() for name, _ in named) == sorted(settings.VARIABLES)
    assert [name for name, option in named if option not in (f"--{name.lower().replace('_', '-')}", "--tag")] == []


def test_a_variable_nobody_knows_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OPTION_PRIORTY", "5")
    with pytest.raises(UnknownOption) as refusal:
        settings.variables()
    assert refusal.value.hint == "did you mean `LAB_OPTION_PRIORITY`?"


@pytest.mark.parametrize("name", ["SCRIPT", "COMMAND", "CWD", "ENV", "LIVE"])
def test_what_runs_and_where_is_not_said_by_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LAB_OPTION_{name}", "x")
    with pytest.raises(UnknownOption):
        settings.variables()


def test_wrong_variables_are_listed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OPTION_PRIORITY", "99")
    monkeypatch.setenv("LAB_OPTION_GPUS", "many")
    with pytest.raises(BadDescription) as refusal:
        settings.variables()
    assert sorted(told(refusal.value)) == [
        "$LAB_OPTION_GPUS: `resources.gpus` is 'many', not a whole number from 0 to 999999",
        "$LAB_OPTION_PRIORITY: `priority` is 99, not 1 to 10, or one of low, normal, high, critical",
    ]


# --- bad files

BAD: Mapping[str, tuple[str, list[str]]] = {
    "unknown field": (
        "[experiment]\nprioty = 1\n",
        ["experiment.prioty: unknown field `prioty`; did you mean `priority`?"],
    ),
    "two errors": (
        "[experiment]\npriority = 0\nresources.gpu = 1\n",
        [
            "experiment.priority: `priority` is 0, not 1 to 10, or one of low, normal, high, critical",
            "experiment.resources.gpu: unknown field `gpu` of `resources`; did you mean `gpus`?",
        ],
    ),
    "a target": (
        "[experiment]\nscript = 'a.py'\n",
        ["experiment.script: what to run is said at each submit, not here"],
    ),
    "no table": ("experiment = 3\n", ["experiment: a description is a table of fields such as `script`, not 3"]),
    "outside the table": (
        "priority = 3\n",
        ["priority: nobody knows it here; options of an experiment stand below `[experiment]`"],
    ),
    "not TOML": (
        "[experiment\n",
        ["lab.toml: not TOML: Expected ']' at the end of a table declaration (at line 1, column 12)"],
    ),
    "a date": ("[experiment]\nname = 2026-11-20\n", ["experiment.name: `name` is a date, not text; put it in quotes"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_file_is_refused_with_everything_that_is_wrong(case: str, places: Places) -> None:
    content, expected = BAD[case]
    (places.project / "lab.toml").write_text(content)
    with pytest.raises(BadDescription) as refusal:
        settings.layers(places.home, places.project)
    assert told(refusal.value) == expected
    assert f"{places.project}/lab.toml" in refusal.value.message


def test_a_file_that_cannot_be_read_is_named_with_the_reason(places: Places) -> None:
    (places.own / "config.toml").write_bytes(b"[experiment]\nnote = '\xff'\n")
    with pytest.raises(BadDescription) as refusal:
        settings.layers(places.home, None)
    assert told(refusal.value) == ["config.toml: it cannot be read: not UTF-8 at byte 21"]
    (places.own / "config.toml").unlink()
    (places.project / "lab.toml").mkdir()
    with pytest.raises(BadDescription, match=r"lab\.toml"):
        settings.layers(places.home, places.project)


def test_a_home_whose_settings_are_no_toml_cannot_be_used(places: Places) -> None:
    (places.home / "home.toml").write_text("slots = \n")
    for read in (settings.load, settings.given, settings.pods):
        with pytest.raises(HomeUnusable):
            read(places.home)


def test_settings_of_the_home_are_checked(places: Places) -> None:
    (places.home / "home.toml").write_text("slotz = 2\n")
    with pytest.raises(UnknownOption) as unknown:
        settings.load(places.home)
    assert unknown.value.hint == "did you mean `slots`?"
    (places.home / "home.toml").write_text("slots = 1.5\n")
    with pytest.raises(BadValue):
        settings.load(places.home)
    (places.home / "home.toml").write_text("slots = 3\n[pods.x]\ncpus = 1\n[experiment]\nnote = 'x'\n")
    assert settings.load(places.home).slots == 3
    assert settings.given(places.home) == {"slots"}


# --- pods


def test_pods_may_say_engine_and_price_beside_their_resources(places: Places) -> None:
    (places.home / "home.toml").write_text(
        "[pods.h100]\ngpus = 1\ngpu_memory = '80G'\nprice_per_hour = 2.5\nengine = 'local'\ndescription = 'fast'\n"
    )
    assert settings.pods(places.home)["h100"]["gpu_memory"] == "80G"


def test_wrong_pods_are_listed(places: Places) -> None:
    (places.home / "home.toml").write_text("[pods.a]\ngpux = 1\n[pods.b]\nmemory = 'many'\n[pods]\nc = 3\n")
    with pytest.raises(BadDescription) as refusal:
        settings.pods(places.home)
    assert told(refusal.value) == [
        "pods.a: unknown field `gpux`; did you mean `gpus`?",
        "pods.b: `memory` is 'many', not a size such as 512M or 8G, or whole bytes",
        "pods.c: it is 3, not a table of cpus, memory, gpus, gpu_memory, disk",
    ]
    (places.home / "home.toml").write_text("pods = 3\n")
    with pytest.raises(BadDescription):
        settings.pods(places.home)


# --- where files are


def test_ones_own_settings_are_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert settings.user_config() == tmp_path / ".config/labrun/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert settings.user_config() == Path("/etc/xdg/labrun/config.toml")


def test_the_home_is_lab_home_or_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAB_HOME", "")
    assert settings.home_path() == tmp_path / "lab"
    monkeypatch.setenv("LAB_HOME", "~/elsewhere")
    assert settings.home_path() == tmp_path / "elsewhere"
    monkeypatch.setenv("LAB_HOME", "here/../there")
    assert settings.home_path() == Path.cwd() / "there"


# --- another machine


def test_where_the_lab_is_comes_from_the_option_the_variable_or_ones_own_file(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.host(None) is None
    (places.own / "config.toml").write_text("host = 'box'\nuser = 'ada'\nport = 2222\nkey = '~/k'\n[experiment]\n")
    found = settings.host(None)
    assert found is not None
    assert (found.text, found.given) == ("box", {"user": "ada", "port": 2222, "key": "~/k"})
    assert found.place == f"{places.own}/config.toml: host"
    monkeypatch.setenv("LAB_HOST", "other")
    found = settings.host(None)
    assert found == settings.ChosenHost("other", {}, "$LAB_HOST"), "the user and key of one machine are no other's"
    assert settings.host("third") == settings.ChosenHost("third", {}, "--host")
    assert settings.host("local") is None
    monkeypatch.setenv("LAB_HOST", "local")
    assert settings.host(None) is None


def test_the_names_of_an_older_tool_are_understood(places: Places) -> None:
    (places.own / "config.toml").write_text(
        "worker_host = 'box'\nworker_user = 'ada'\nworker_port = 22\nworker_base = '/data/lab'\napi_key = 'x'\n"
    )
    found = settings.host(None)
    assert found is not None
    assert found.given == {"user": "ada", "port": 22, "home": "/data/lab"}


@pytest.mark.parametrize("line", ["host = 1", "port = 'x'", "port = 70000", "key = true", "hots = 'box'"])
def test_a_wrong_line_about_the_host_is_named(places: Places, line: str) -> None:
    (places.own / "config.toml").write_text(f"{line}\n")
    with pytest.raises(BadDescription) as caught:
        settings.host(None)
    assert told(caught.value)[0].startswith(line.partition(" ")[0])


def test_a_project_cannot_send_anybody_to_another_machine(places: Places) -> None:
    (places.project / "lab.toml").write_text("host = 'stranger'\n")
    assert settings.host(None) is None
    with pytest.raises(BadDescription, match=r"lab\.toml"):
        places.merged()
