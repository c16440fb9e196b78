import json
import subprocess
from typing import Any

import pytest

from tests.cli.conftest import LAB, Shell


@pytest.fixture
def ready(shell: Shell) -> Shell:
    """A project with a script; no home, no server."""
    shell.write("train.py", "print(1)\n")
    return shell


def table(shell: Shell, *args: str, **variables: str) -> dict[str, str]:
    """Lines of a dry run by their first word, blanks folded."""
    lines = shell.lab("queue", "--dry-run", *args, **variables).stdout.splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line}


def test_flags_win_over_variables_file_project_home_user_and_default(ready: Shell) -> None:
    given = [("user", "0s"), ("home", "1s"), ("project", "2s"), ("file", "3s"), ("variable", "4s"), ("flag", "5s")]
    seen: list[str] = [table(ready, "train.py")["grace"]]
    variables: dict[str, str] = {}
    args: list[str] = []
    for place, value in given:
        match place:
            case "user":
                own = ready.project.parent / ".config/labrun"
                own.mkdir(parents=True)
                (own / "config.toml").write_text(f"[experiment]\ngrace = '{value}'\n")
            case "home":
                ready.home.mkdir()
                (ready.home / "home.toml").write_text(f"[experiment]\ngrace = '{value}'\n")
            case "project":
                (ready.project / "lab.toml").write_text(f"[experiment]\ngrace = '{value}'\n")
            case "file":
                (ready.project / "e.toml").write_text(f"grace = '{value}'\n")
                args = ["-f", "e.toml"]
            case "variable":
                variables = {"LAB_OPTION_GRACE": value}
            case _:
                args += ["--grace", value]
        seen.append(table(ready, *args, "train.py", **variables)["grace"])
    assert seen == [
        "10s default",
        f"0s {ready.project.parent}/.config/labrun/config.toml: grace",
        f"1s {ready.home}/home.toml: grace",
        f"2s {ready.project}/lab.toml: grace",
        "3s e.toml:1:1",
        "4s $LAB_OPTION_GRACE",
        "5s --grace",
    ]


def test_a_dry_run_shows_what_would_run_and_no_secret(ready: Shell) -> None:
    done = ready.lab(
        "run", "--dry-run", "--env", "TOKEN=hush", "--env", "HOME", "--config", "train.py", "train.py", "--x"
    )
    assert "hush" not in done.stdout
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "env.TOKEN given --env" in lines
    assert "env.HOME yours --env" in lines
    assert "config train.py --config" in lines
    assert "args --x the command line" in lines
    assert f"code {ready.project}" in lines
    assert lines[-1] == "nothing was submitted"
    assert not ready.home.exists()


def test_programs_get_the_whole_request_without_values_of_variables(ready: Shell) -> None:
    found = ready.json("queue", "--dry-run", "--env", "TOKEN=hush", "--seed", "7", "train.py")
    assert found["is_submitted"] is False
    assert found["request"]["spec"]["seed"] == 7
    assert "TOKEN" in found["request"]["variables"]
    assert "hush" not in json.dumps(found)
    assert found["origins"]["seed"] == "--seed"
    assert found["origins"]["priority"] == "default"


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ([], ["would be copied now", "when no other such experiment does", "A seed would be drawn"]),
        (["--gpus", "1", "--memory", "8G"], ["wait until 8.0 GiB of memory, 1 GPUs are free"]),
        (["--live"], ["would run live in", "edits made before its turn change what runs"]),
        (["--timeout", "1h", "--seed", "1"], ["stopped after 3600 seconds"]),
    ],
)
def test_it_is_explained_in_sentences(ready: Shell, options: list[str], sentences: list[str]) -> None:
    told = ready.lab("queue", "--explain", *options, "train.py").stdout
    assert [sentence for sentence in sentences if sentence not in told] == []
    assert told.endswith("Nothing was submitted.\n")
    assert ("seed would be drawn" in told) is ("--seed" not in options)


def test_where_no_project_is_nothing_would_be_frozen(ready: Shell) -> None:
    empty = ready.project.parent / "empty"
    empty.mkdir()
    assert "Nothing would be frozen" in ready.lab("run", "--explain", "--", "true", cwd=empty).stdout


def test_validate_says_that_it_is_valid_or_what_is_not(ready: Shell) -> None:
    assert ready.lab("queue", "--validate", "train.py").stdout == "valid: nothing was submitted\n"
    assert ready.lab("queue", "--quiet", "--validate", "train.py").stdout == ""
    refusal = ready.json("queue", "--validate", "--timeout", "soon", "train.py", status=2)
    assert refusal["error"]["message"].startswith("--timeout 'soon' is not a duration")
    assert not ready.home.exists()


def test_what_would_be_said_at_a_submit_is_said_here_too(ready: Shell) -> None:
    told = ready.lab("queue", "--validate", "--live", "train.py", "--priority", "3").stderr
    assert "live: it runs in" in told
    assert "`--priority 3` went to the script" in told


def test_what_was_piped_in_is_checked_and_not_shown(ready: Shell) -> None:
    def look(content: bytes) -> Any:
        return subprocess.run(
            [*LAB, "queue", "--json", "--validate", "--stdin", "train.py"],
            input=content,
            cwd=ready.project,
            env=ready.variables,
            capture_output=True,
            check=False,
            timeout=60,
        )

    shown = json.loads(look(b"hush").stdout)
    assert shown["request"]["spec"]["stdin"] == "spooled"
    assert "stdin" not in shown["request"]
    refused = look(b"x" * (64 * 2**20 + 1))
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "too_big"


def test_names_that_would_steer_a_terminal_are_made_visible(ready: Shell) -> None:
    assert "\x1b" not in ready.lab("queue", "--dry-run", "--name", "a\x1b[31mb", "train.py", "\x1b[2J").stdout
