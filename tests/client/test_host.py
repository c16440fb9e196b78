import os
import shlex
import subprocess
from pathlib import Path

import pytest

from labrun.client.host import (
    Address,
    Host,
    kept_lines_folder,
    parse_address,
    remote_command,
    shell_command,
    ssh_command,
)
from labrun.core.errors import BadValue, HostUnreachable, HostWithoutLab


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("box", Address("box")),
        ("Box-1.example.org", Address("Box-1.example.org")),
        ("ada@box", Address("box", "ada")),
        ("box:2222", Address("box", None, 2222)),
        ("ssh://ada@box:2222/", Address("box", "ada", 2222)),
        ("ssh://[::1]:22", Address("::1", None, 22)),
        ("ssh://box?lab=~/bin/lab&home=/data/lab", Address("box", lab="~/bin/lab", home="/data/lab")),
    ],
)
def test_the_ways_to_write_a_box(text: str, address: Address) -> None:
    assert parse_address(text, {}, "--host") == address


def test_what_the_address_says_wins_over_the_rest() -> None:
    given = {"user": "bob", "port": 22, "key": "~/k", "lab": "/a", "home": "/h"}
    assert parse_address("ssh://ada@box:23?lab=/b", given, "x") == Address("box", "ada", 23, "~/k", "/b", "/h")


@pytest.mark.parametrize(
    "text",
    [
        *("", "ssh://", "-oProxyCommand=x", "ssh://-box", "-l@box", "ssh://ada:secret@box", "http://box", "box/path"),
        *("ssh://box#x", "box:port", "ssh://box:99999", "ssh://box?nonsense=1", "ssh://box?lab", "a b", "box\n", "b;x"),
    ],
)
def test_what_is_no_box_is_refused_with_where_it_stood(text: str) -> None:
    with pytest.raises(BadValue, match=r"(?s)\$LAB_HOST"):
        parse_address(text, {}, "$LAB_HOST")


@pytest.mark.parametrize("user", ["-oProxyCommand=x", "ada bob", "ada\n", "ada:secret", "", "@box"])
def test_a_user_that_would_be_an_option_or_is_none_is_refused(user: str) -> None:
    with pytest.raises(BadValue, match="login name"):
        parse_address("box", {"user": user}, "config")


@pytest.mark.parametrize("user", ["ada.b", "ada@physics.org", "PHYSICS\\ada", "svc$"])
def test_a_login_of_a_directory_service_is_taken(user: str) -> None:
    assert parse_address(f"{user}@box", {}, "x") == parse_address("box", {"user": user}, "x") == Address("box", user)


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_any_shell_there_understands_what_it_is_asked(tmp_path: Path, shell: str) -> None:
    tool = tmp_path / "a 'quoted' folder/lab"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" in "$LAB_HOME"\n')
    tool.chmod(0o755)
    command = remote_command(Address("box", lab=str(tool), home="~/my lab"))
    done = subprocess.run(
        [shell, "-c", command], env={"HOME": "/h", "PATH": "/bin:/usr/bin"}, capture_output=True, check=True
    )
    assert done.stdout == b"bridge in /h/my lab\n"
    command = remote_command(Address("box", lab=str(tool)), ["init", "--state", "a b; $(reboot) 'c' \\"])
    done = subprocess.run(
        [shell, "-c", command], env={"HOME": "/h", "PATH": "/bin:/usr/bin"}, capture_output=True, check=True
    )
    assert done.stdout == b"init --state a b; $(reboot) 'c' \\ in \n"


def test_a_lab_in_the_users_own_folder_is_found(tmp_path: Path) -> None:
    tool = tmp_path / ".local/bin/lab"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    command = remote_command(Address("box"))
    done = subprocess.run(["sh", "-c", command], env={"HOME": str(tmp_path), "PATH": "/bin"}, capture_output=True)
    assert done.stdout == b"found\n"


def test_the_command_line_of_a_connection(tmp_path: Path) -> None:
    address = Address("box", "ada", 2222, "/k")
    words = ssh_command(address, Path("/run/user/1000/labrun"), 15, may_ask=False)
    assert words[-9:-1] == ["-l", "ada", "-p", "2222", "-i", "/k", "--", "box"]
    assert words[words.index("--") + 1] == "box", "a name can never be taken for an option"
    assert "-oBatchMode=yes" in words
    assert "-oControlPath=/run/user/1000/labrun/%C" in words
    asked = ssh_command(address, None, 15, may_ask=True)
    assert not any("BatchMode" in word or "Control" in word for word in asked)
    deep = Path("/" + "x" * 60)
    assert not any("ControlPath" in word for word in ssh_command(address, deep, 15, may_ask=True)), "unix(7): 107 bytes"
    assert shlex.split(shell_command(address, "/a b")[-1])[:2] == ["cd", "/a b"]


def test_lines_are_kept_only_where_nobody_else_comes(tmp_path: Path) -> None:
    own = kept_lines_folder(tmp_path / "own/labrun")
    assert own is not None
    assert own.stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    assert kept_lines_folder(tmp_path / "open") is None
    (tmp_path / "link").symlink_to(own)
    assert kept_lines_folder(tmp_path / "link") is None
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir(mode=0o700)
        os.chown(tmp_path / "theirs", 65534, 65534)
        assert kept_lines_folder(tmp_path / "theirs") is None


def a_box_that_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Host:
    """An `ssh` first on PATH, so that what the far end says is up to us."""
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Host(Address("box"), None, may_ask=False)


@pytest.mark.parametrize(
    "introduction",
    [
        *("{}", "[]", "5", "{", '{"error": 5}', '{"error": {}}', '{"error": {"code": 5}}', '{"version": "1"}'),
        '{"version": "1", "user": "u", "home": "/h", "python": 5, "variables": {}, "process": {}, "pods": {}}',
        '{"version": "1", "user": "u", "home": "/h", "python": null, "variables": [], "process": {}, "pods": {}}',
    ],
)
def test_an_introduction_that_makes_no_sense_is_no_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, introduction: str
) -> None:
    host = a_box_that_says(tmp_path, monkeypatch, f"echo 'LABRUN {introduction}'; sleep 0.1")
    with pytest.raises(HostWithoutLab, match="nonsense"):
        host.open(1)


def test_an_older_lab_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = a_box_that_says(tmp_path, monkeypatch, "echo 'lab: unknown command bridge' >&2; exit 2")
    with pytest.raises(HostWithoutLab, match="too old"):
        host.open(1)


def test_a_box_that_complains_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    flood = f"head -c 1000000 /dev/zero >&2 && touch {whole}"
    host = a_box_that_says(tmp_path, monkeypatch, f"echo 'a first word' >&2; {flood}; exit 255")
    with pytest.raises(HostUnreachable, match="a first word"):
        host.open(1)
    assert not whole.exists()
