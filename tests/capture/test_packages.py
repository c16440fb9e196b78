import subprocess
import sys
from pathlib import Path

import pytest

from labrun.capture.interpreter import ask_interpreter
from labrun.capture.packages import freeze, import_folders, list_packages
from labrun.capture.readings import Readings
from tests.capture.installed import editable, git, install, make_environment, pip_freeze, project, site_of


def frozen(
    python: Path, cwd: Path, *, python_path: str | None = None, readings: Readings | None = None, **variables: str
) -> list[str]:
    readings = readings or Readings()
    found = ask_interpreter(python, {"HOME": str(cwd), **variables}, cwd, readings)
    return list(freeze(list_packages(import_folders(found, python_path, cwd), readings), found))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env")


@pytest.mark.timeout(400)
def test_two_environments_with_different_numpy_are_listed_like_their_own_pip_does(tmp_path: Path) -> None:
    seen = []
    for version in ("1.26.4", "2.2.6"):
        folder = tmp_path / version
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        own = folder / "bin/python"
        words = ["-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", f"numpy=={version}"]
        done = subprocess.run([str(own), *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"pip has no NumPy {version} for this Python here: {done.stderr[-300:]}")
        said = subprocess.run(
            [str(own), "-m", "pip", "freeze"], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert frozen(own, tmp_path) == said.stdout.splitlines()
        assert f"numpy=={version}" in said.stdout
        seen.append(said.stdout)
    assert seen[0] != seen[1]


def test_every_way_to_install_is_written_as_pip_writes_it(python: Path, tmp_path: Path) -> None:
    site, commit = site_of(python), "0123456789abcdef0123456789abcdef01234567"
    install(site, "Plain", "1.0")
    install(site, "alpha-beta_gamma.delta", "2.0.0")
    install(site, "odd", "v1.0-Alpha_1.post+Ubuntu-01")
    install(site, "epoch", "1!2.0rc1.dev3")
    install(site, "legacy", "2004d-1")
    install(site, "pip", "1.0")
    install(site, "setuptools", "65.0")
    install(site, "wheel", "0.1")
    install(site, "distribute", "0.1")
    vcs = {
        "url": "https://example.org/a.git",
        "vcs_info": {"vcs": "git", "commit_id": commit, "requested_revision": "v1"},
    }
    install(site, "from-git", "1.0", direct=vcs)
    install(site, "from-part", "1.0", direct={**vcs, "subdirectory": "python/part"})
    install(site, "from-file", "1.0", direct={"url": "file:///x/a.whl", "archive_info": {"hash": "sha256=abc"}})
    both = {"hash": "sha256=abc", "hashes": {"sha256": "abc"}}
    install(site, "from-web", "1.0", direct={"url": "https://example.org/a.whl", "archive_info": both})
    install(site, "unhashed", "1.0", direct={"url": "https://example.org/b.whl", "archive_info": {}})
    install(site, "from-folder", "1.0", direct={"url": "file:///x/project", "dir_info": {}})
    install(site, "torn", "1.0", direct='{"url": "https://exam')
    install(site, "two-kinds", "1.0", direct={"url": "https://example.org", "dir_info": {}, "archive_info": {}})
    install(site, "no-kind", "1.0", direct={"url": "https://example.org"})
    (site / "~lain-1.0.dist-info").mkdir()
    (site / "~lain-1.0.dist-info/METADATA").write_text("Name: ~lain\nVersion: 1.0\n")
    (site / "empty-1.0.dist-info").mkdir()
    (site / "old-1.0.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1.0\n")
    (site / "older.egg-info").mkdir()
    (site / "older.egg-info/PKG-INFO").write_text("Metadata-Version: 1.0\nName: older\nVersion: 0.9\n")
    lines = frozen(python, tmp_path)
    assert lines == pip_freeze(python, tmp_path)
    assert "odd==1.0a1.post0+ubuntu.1" in lines
    assert f"from-part @ git+https://example.org/a.git@{commit}#subdirectory=python/part" in lines


def test_editable_installs_name_their_repository_as_pip_does(python: Path, tmp_path: Path) -> None:
    site = site_of(python)
    plain = tmp_path / "plain"
    plain.mkdir()
    alone = project(tmp_path / "alone", {"pyproject.toml": ""})
    shared = project(tmp_path / "shared", {"python/pkg/pyproject.toml": "", "python/pkg/src/a.py": ""})
    git(shared, "remote", "add", "other", "https://example.org/other.git")
    git(shared, "remote", "add", "origin", "git@example.org:lab/shared.git")
    mirror = project(tmp_path / "mirror", {"setup.py": ""})
    git(mirror, "remote", "add", "up", str(shared))
    broken = project(tmp_path / "broken", {"setup.py": ""})
    git(broken, "remote", "add", "origin", "/no/such/folder")
    unborn = tmp_path / "unborn"
    unborn.mkdir()
    git(unborn, "init", "-q")
    git(unborn, "remote", "add", "origin", "https://example.org/unborn.git")
    for name, location in {
        "plain": plain,
        "alone": alone,
        "shared-pkg": shared / "python/pkg",
        "mirror": mirror,
        "broken": broken,
        "unborn": unborn,
    }.items():
        install(site, name, "1.0", direct=editable(location))
    lines = frozen(python, tmp_path)
    assert lines == pip_freeze(python, tmp_path)
    commit = git(shared, "rev-parse", "HEAD").strip()
    wanted = f"-e git+ssh://git@example.org/lab/shared.git@{commit}#egg=shared_pkg&subdirectory=python/pkg"
    assert wanted in lines


def test_a_link_of_setup_py_develop_is_an_editable_install(python: Path, tmp_path: Path) -> None:
    site, source = site_of(python), tmp_path / "old project"
    (source / "old_one.egg-info").mkdir(parents=True)
    (source / "old_one.egg-info/PKG-INFO").write_text("Metadata-Version: 1.0\nName: old-one\nVersion: 3.0\n")
    (site / "old-one.egg-link").write_text(f"{source}\n.\n")
    (site / "easy-install.pth").write_text(f"{source}\n")
    lines = frozen(python, tmp_path)
    assert lines == pip_freeze(python, tmp_path)
    assert lines == ["# Editable install with no version control (old-one==3.0)", f"-e {source}"]


def test_the_first_of_two_folders_counts_and_python_path_comes_first(python: Path, tmp_path: Path) -> None:
    install(site_of(python), "thing", "1.0")
    install(tmp_path / "first", "Thing", "2.0")
    install(tmp_path / "second", "thing", "3.0")
    path = f"{tmp_path}/first:{tmp_path}/second"
    lines = frozen(python, tmp_path, python_path=path, PYTHONPATH=path)
    assert lines == pip_freeze(python, tmp_path, PYTHONPATH=path) == ["Thing==2.0"]


def test_packages_of_the_system_count_when_the_environment_sees_them(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env", "--system-site-packages")
    install(site_of(python), "own", "1.0")
    lines = frozen(python, tmp_path)
    assert lines == pip_freeze(python, tmp_path)
    assert "own==1.0" in lines


def test_credentials_in_addresses_are_the_one_difference_to_pip(python: Path, tmp_path: Path) -> None:
    site = site_of(python)
    url = "https://ada:hunter2@example.org/a.git"
    install(site, "private", "1.0", direct={"url": url, "vcs_info": {"vcs": "git", "commit_id": "f00"}})
    cloned = project(tmp_path / "cloned", {"pyproject.toml": ""})
    git(cloned, "remote", "add", "origin", "https://oauth2:hunter2@example.org/b.git")
    install(site, "cloned", "1.0", direct=editable(cloned))
    lines = frozen(python, tmp_path)
    assert lines == [
        line.replace("ada:hunter2@", "").replace("oauth2:hunter2@", "") for line in pip_freeze(python, tmp_path)
    ]
    assert "hunter2" not in "".join(lines)


def test_what_is_installed_later_is_seen(python: Path, tmp_path: Path) -> None:
    readings = Readings(settled_s=0)
    assert frozen(python, tmp_path, readings=readings) == []
    info = install(site_of(python), "thing", "1.0")
    assert frozen(python, tmp_path, readings=readings) == ["thing==1.0"]
    for path in sorted(info.iterdir()):
        path.unlink()
    info.rmdir()
    assert frozen(python, tmp_path, readings=readings) == []


def test_a_folder_that_cannot_be_read_or_is_none_holds_no_packages(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert list_packages([str(tmp_path / "gone"), str(tmp_path / "file"), "nul\0byte"], Readings()) == ()
