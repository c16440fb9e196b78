"""Environments for tests: real virtual environments, packages written by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def make_environment(folder: Path, *options: str) -> Path:
    """Make a virtual environment without pip; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, str(folder)], check=True)
    return folder / "bin/python"


def site_of(python: Path) -> Path:
    """The folder an environment installs into."""
    (found,) = (python.parents[1] / "lib").glob("python*/site-packages")
    return found


def install(site: Path, name: str, version: str, *, direct: Any = None, files: dict[str, str] | None = None) -> Path:
    """Write what an installer leaves behind: `.dist-info` and files beside it; returns the `.dist-info`."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 0\n")
    (info / "INSTALLER").write_text("pip\n")
    if direct is not None:
        (info / "direct_url.json").write_text(direct if isinstance(direct, str) else json.dumps(direct))
    for place, text in (files or {}).items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        (site / place).write_text(text)
    record = "".join(f"{place},sha256=x,1\n" for place in (*(files or {}), f"{info.name}/METADATA"))
    (info / "RECORD").write_text(record)
    return info


def editable(location: Path) -> dict[str, Any]:
    """What `direct_url.json` says of an editable install."""
    return {"url": location.as_uri(), "dir_info": {"editable": True}}


def pip_freeze(python: Path, cwd: Path, **variables: str) -> list[str]:
    """What pip lists for an environment, pip being that of the tests."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PIP_CONFIG_FILE": os.devnull, **variables}
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "freeze"]
    done = subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def git(root: Path, *words: str) -> str:
    """Run git in a folder as a user who has a name."""
    name = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
    name += ("-c", "protocol.file.allow=always")
    return subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def project(root: Path, files: Mapping[str, str]) -> Path:
    """Write a folder of files and commit them all, ignored ones too."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "begin", "--allow-empty")
    return root
