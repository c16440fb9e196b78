import json

from tests.cli.conftest import Shell


def rows(text: str) -> dict[str, list[str]]:
    """Lines of the tables by their first word."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}


def test_every_value_is_shown_with_where_it_comes_from(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "home.toml").write_text(
        "slots = 3\n[pods.big]\ncpus = 8\nmemory = '64G'\n[experiment]\ngrace = '30s'\n"
    )
    (shell.project / "lab.toml").write_text("[experiment]\npriority = 'low'\ngrace = '20s'\nenv.TOKEN = 'secret'\n")
    told = shell.lab("settings", LAB_OPTION_TAGS="a,b").stdout
    found = rows(told)
    assert found["home"] == ["home", str(shell.home), "$LAB_HOME"]
    assert found["slots"] == ["slots", "3", f"{shell.home}/home.toml"]
    assert found["poll_s"] == ["poll_s", "1.0", "default"]
    assert found["priority"] == ["priority", "low", f"{shell.project}/lab.toml:", "priority"]
    assert found["grace"] == ["grace", "20s", f"{shell.project}/lab.toml:", "grace"]
    assert found["timeout"] == ["timeout", "none", "default"]
    assert found["tags"] == ["tags", "a,", "b", "$LAB_OPTION_TAGS"]
    assert found["env.TOKEN"][1] == "given"
    assert "secret" not in told
    assert found["big"] == ["big", "cpus=8", "memory=64G"]


def test_programs_get_the_same_as_json(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "home.toml").write_text("[pods.big]\ncpus = 8\n[experiment]\npod = 'big'\n")
    found = shell.json("settings")
    assert {"name": "slots", "value": 1, "from": "default"} in found["settings"]
    assert {"name": "priority", "value": "5", "from": "default"} in found["experiment"]
    places = {row["name"]: row["from"] for row in found["experiment"]}
    assert places["pod"] == f"{shell.home}/home.toml: pod"
    assert places["resources.cpus"] == f"the pod of {shell.home}/home.toml: pod"
    assert found["pods"] == {"big": {"cpus": 8}}


def test_the_project_counts_from_its_subfolders_and_not_outside(shell: Shell) -> None:
    (shell.project / "lab.toml").write_text("[experiment]\nnote = 'mine'\n")
    (shell.project / "sub").mkdir()
    assert rows(shell.lab("settings", cwd=shell.project / "sub").stdout)["note"][1] == "mine"
    assert "note" not in rows(shell.lab("settings", cwd=shell.project.parent).stdout)


def test_looking_makes_and_starts_nothing(shell: Shell) -> None:
    assert "Pods" in shell.lab("settings").stdout
    assert not shell.home.exists()


def test_a_file_with_errors_is_named_with_all_of_them(shell: Shell) -> None:
    (shell.project / "lab.toml").write_text("[experiment]\nprioty = 1\nseed = -1\n")
    done = shell.lab("settings", status=2)
    assert done.stderr.splitlines() == [
        f"lab: `{shell.project}/lab.toml` has 2 errors; nothing was submitted",
        "  experiment.prioty: unknown field `prioty`; did you mean `priority`?",
        "  experiment.seed: `seed` is -1, not a whole number from 0 to 9223372036854775807",
        "  mend it and try again",
    ]


def test_a_home_whose_settings_cannot_be_read_is_named(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "home.toml").write_text("slots =\n")
    error = json.loads(shell.lab("settings", "--json", status=3).stdout)["error"]
    assert error["code"] == "home_unusable"
    assert "home.toml" in error["message"]
