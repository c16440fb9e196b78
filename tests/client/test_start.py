import os
import subprocess
import sys
from pathlib import Path

import pytest

from labrun.client.address import socket_of
from labrun.client.start import ensure
from labrun.core.errors import ServerUnreachable
from tests.client.edge import edge


def test_no_server_is_started_from_inside_an_experiment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(ServerUnreachable) as caught:
        ensure(home, tmp_path / "s", {}, print, is_inside=True)
    assert "inside an experiment" in caught.value.message
    assert caught.value.hint == "start it outside with `lab serve --detach`"
    assert not home.exists()


def test_a_server_that_runs_serves_experiments_as_well(tmp_path: Path) -> None:
    with edge(tmp_path / "s", b""):
        ensure(tmp_path / "home", tmp_path / "s", {}, print, is_inside=True)


def test_the_command_line_notices_that_it_runs_inside_an_experiment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    variables = {"PATH": os.defpath, "LAB_HOME": str(home), "LAB_ATTEMPT_KEY": "k", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "labrun.cli.main", "list"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert "lab serve --detach" in done.stderr
    assert not socket_of(home).exists()
