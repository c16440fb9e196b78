import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import LAB, Shell

HEAVY = {
    *("asyncio", "rich", "msgspec", "urllib.request", "http", "email", "ssl", "socket", "selectors", "subprocess"),
    *(
        "logging",
        "tempfile",
        "secrets",
        "random",
        "hashlib",
        "shutil",
        "bz2",
        "lzma",
        "traceback",
        "unittest",
        "importlib.metadata",
    ),
    *("dulwich", "litestar", "uvicorn", "apsw", "psutil", "pynvml", "httptools"),
    *("labrun.server", "labrun.worker", "labrun.engines", "labrun.store", "labrun.bootstrap", "labrun.wire"),
}


def python(code: str, *args: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LAB_HOME": str(cwd / "home")} | variables
    return subprocess.run(
        [sys.executable, "-c", code, *args], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["run", "queue", "status", "list", "info", "logs", "cancel", "wait"])
def test_commands_people_type_hourly_load_nothing_heavy(tmp_path: Path, command: str) -> None:
    code = (
        "import sys; from labrun.cli.main import main; main([sys.argv[1], '--help']); import labrun.cli.follow;"
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    )
    done = python(code, command, cwd=tmp_path)
    assert "Usage: lab" in done.stdout
    loaded = set(done.stderr.split())
    assert HEAVY & set(loaded) == set()


def test_a_submit_loads_nothing_heavy_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("pass\n")
    code = (
        "import sys, _socket, threading\n"
        "from labrun.cli.main import main\n"
        "from labrun.client import api\n"
        "listener = _socket.socket(_socket.AF_UNIX); listener.bind('home/server.sock'); listener.listen()\n"
        "def answer():\n"
        "    connection = _socket.socket(fileno=listener._accept()[0]); text = b''\n"
        "    while not text.endswith(b'}}'): text += connection.recv(65536)\n"
        '    body = b\'{"code":"too_big","message":"m"}\'\n'
        "    connection.sendall(b'HTTP/1.1 413 X\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(body), body))\n"
        "worker = threading.Thread(target=answer); worker.start()\n"
        "status = main(['queue', '--timeout', '5m', '--memory', '1G', '--cpus', '1', 'train.py', '--lr', '1'])\n"
        "worker.join(); print(status, ' '.join(sys.modules))\n"
    )
    (tmp_path / "home").mkdir()
    done = python(code, cwd=tmp_path, PATH=f"{Path(sys.executable).parent}:/usr/bin")
    assert done.stderr == "lab: m\n"
    status, *loaded = done.stdout.split()
    assert status == "2"
    assert HEAVY & set(loaded) == set()


def test_help_lists_every_command_with_one_line_each(shell: Shell) -> None:
    from labrun.cli.main import COMMANDS

    text = shell.lab("--help").stdout
    for name, (_, _, line) in COMMANDS.items():
        assert f"  {name} " in text
        assert line.split()[0] in text
    assert shell.lab("-h").stdout == text


def test_every_command_has_help_in_plain_words_with_an_example(shell: Shell) -> None:
    from labrun.cli.main import COMMANDS, cli

    context = cli.make_context("lab", ["status"])
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found = command.commands.values() if hasattr(command, "commands") else [command]
        for one in found:
            assert one.help, name
            assert "Example:" in one.help or hasattr(one, "commands"), f"{name} {one.name}"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["stauts"], "unknown command `stauts`", "did you mean `lab status`?"),
        (["train.py"], "unknown command `train.py`", "did you mean `lab run train.py`?"),
        (["xyzzy"], "unknown command `xyzzy`", "`lab --help` lists what there is"),
        (["--nope"], "unknown option `--nope` of lab", "`lab --help` lists what there is"),
        (["run", "--priorty", "3"], "unknown option `--priorty` of lab run", "did you mean `--priority`?"),
        (["server", "restrat"], "no such command 'restrat'", "`lab server --help` shows how"),
        (["list", "--limit", "0"], "invalid value for '--limit': 0 is not in the range 1<=x<=1000", None),
        (["cancel"], "missing argument 'EXPERIMENT...'", "`lab cancel --help` shows how"),
        (["info", "a", "b"], "got unexpected extra argument (b)", "`lab info --help` shows how"),
        (["run", "--name"], "option '--name' requires an argument", None),
    ],
)
def test_a_wrong_command_line_names_the_nearest_right_one(
    shell: Shell, words: list[str], message: str, hint: str | None
) -> None:
    told = shell.lab(*words, status=2).stderr.splitlines()
    assert told[0].startswith(f"lab: {message}")
    if hint is not None:
        assert told[1].strip().endswith(hint) or hint in told[1]
    assert not shell.home.exists()


def test_a_refusal_is_json_for_those_who_asked(shell: Shell) -> None:
    refusal = json.loads(shell.lab("run", "--json", "missing.py", status=2).stdout)
    assert refusal["error"]["code"] == "no_such_script"
    refusal = json.loads(shell.lab("queue", "--json", "--priorty", "1", "x.py", status=2).stdout)
    assert refusal["error"]["code"] == "unknown_option"


@pytest.mark.parametrize("command", ["run", "queue"])
def test_bad_input_is_refused_with_status_2_before_a_server_is_asked(shell: Shell, command: str) -> None:
    shell.write("train.py", "pass\n")
    shell.write("junk", "\0\1")
    for words in (
        ["missing.py"],
        ["."],
        ["junk"],
        ["--", "no-such-program-1"],
        ["--timeout", "soon", "train.py"],
        ["--memory", "lots", "train.py"],
        ["--name", "n" * 201, "train.py"],
        ["-m", ""],
        [],
    ):
        done = shell.lab(command, *words, status=2)
        assert done.stdout == ""
        assert done.stderr.startswith("lab: ")
        said = done.stderr.splitlines()
        assert len(said) <= 2
        assert len(said) == 2 or " is not " in said[0], "without a hint the message says what is expected"
    assert (
        b"argument 1"
        in subprocess.run(
            [*LAB, command, "train.py", b"\xff"],
            cwd=shell.project,
            env=shell.variables,
            capture_output=True,
            check=False,
        ).stderr
    )
    assert not shell.home.exists()


def test_a_deleted_directory_is_said(shell: Shell) -> None:
    code = "cd gone && rm -r ../gone && exec " + " ".join([*LAB, "run", "train.py"])
    (shell.project / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", code], cwd=shell.project, env=shell.variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "lab: cannot run `.`: the current directory is gone")


def test_without_a_command_the_help_is_shown_and_nothing_happens(shell: Shell) -> None:
    assert "Commands:" in shell.lab(status=2).stderr


def test_a_reader_who_left_is_no_error_of_ours(shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*LAB, "doctor", "--json"],
        env=shell.variables | {"LAB_HOME": "/proc/none"},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_descriptors_are_never_taken_by_a_socket(shell: Shell) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {' '.join(LAB)} doctor --json <&- >&- 2>&-"],
        env=shell.variables | {"LAB_HOME": "/proc/none"},
        check=False,
    )
    assert done.returncode == 1
