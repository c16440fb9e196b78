"""Secrets of the person who submits do not come into records: canaries in a dozen places, none found again.

Left aside are the two places variables have to be in while an experiment is open: `store/env/` and
the queue's database, both for their owner alone.
"""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.capture.installed import editable, git, install, make_environment, project, site_of
from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest

pytestmark = pytest.mark.timeout(120)

SCRIPT = """\
import os, sys, time
assert os.environ["SERVICE_API_TOKEN"].startswith("canary")
assert "canary" in os.environ["https_proxy"]
open("running", "w").close()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


class Canaries:
    """One unmistakable text per place."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def __getitem__(self, place: str) -> str:
        """Make a canary; a place gets one and the same."""
        return self._texts.setdefault(place, f"canary{os.urandom(9).hex()}")

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """Every canary as it may be written: plain, and inside something that was written in base64."""
        for place, text in self._texts.items():
            yield place, text.encode()
            for shift in range(3):
                encoded = base64.b64encode(b"\0" * shift + text.encode() + b"\0\0\0")
                yield place, encoded[4:28]

    def found_in(self, content: bytes) -> set[str]:
        """Places whose canary is somewhere in a text."""
        return {place for place, form in self.forms() if form in content}


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def root(tmp_path: Path, canaries: Canaries) -> Path:
    """A project full of secrets, below the top of its repository."""
    top = project(tmp_path / "top", {"mine/train.py": SCRIPT, "mine/.env": "A=1\n", "mine/pyproject.toml": ""})
    git(top, "remote", "add", "origin", f"https://ada:{canaries['remote URL']}@example.org/a.git")
    git(top, "config", "http.extraHeader", f"Authorization: {canaries['header in .git/config']}")
    (top / "requirements.txt").write_text(f"-i https://u:{canaries['index in requirements']}@example.org/simple\n")
    root = top / "mine"
    secrets = {
        ".env": "KEY={}",  # tracked, and changed: it must not come in through the difference either
        ".netrc": "machine example.org password {}",
        "id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n",
        "server.pem": "{}",
        ".pypirc": "password = {}",
        ".git-credentials": "https://ada:{}@example.org",
        ".aws/credentials": "aws_secret_access_key = {}",
        "credentials.json": '{{"private_key": "{}"}}',
    }
    for name, text in secrets.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text.format(canaries[name]))
    (root / "train.py").write_text(f"{SCRIPT}# changed\n")
    return root


@pytest.fixture
def python(tmp_path: Path, canaries: Canaries) -> Path:
    """An environment with secrets in its metadata."""
    python = make_environment(tmp_path / "env")
    site, index = site_of(python), "index-" + "url"
    (tmp_path / "env/pip.conf").write_text(f"[global]\n{index} = https://u:{canaries['pip.conf']}@example.org\n")
    url = f"https://{canaries['direct_url.json']}@example.org/a.git"
    install(site, "private", "1.0", direct={"url": url, "vcs_info": {"vcs": "git", "commit_id": "f00"}})
    other = project(tmp_path / "other", {"b.py": ""})
    git(other, "remote", "add", "origin", f"https://x:{canaries['remote of an editable']}@example.org/b.git")
    install(site, "other", "1.0", direct=editable(other), files={"_o.pth": str(other)})
    meta = tmp_path / "env/conda-meta"
    meta.mkdir()
    channel = f"https://conda.example.org/t/{canaries['conda channel']}/main/thing-1.0.conda"
    (meta / "thing-1.0.json").write_text(json.dumps({"url": channel}))
    return python


def variables(canaries: Canaries, home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "SERVICE_API_TOKEN": canaries["variable"],
        "https_proxy": f"http://ada:{canaries['proxy variable']}@example.org:3128",
        "PIP_EXTRA_INDEX": f"https://u:{canaries['index variable']}@example.org/simple",
        "MKL_LICENSE_KEY": canaries["variable with a recorded prefix"],
        "XLA_FLAGS": f"--dump_to=https://u:{canaries['URL in a recorded variable']}@example.org/",
    }


def leaks(home: Path, canaries: Canaries) -> set[tuple[str, str]]:
    """Canaries in the files of a home and in the objects of its code store: place and file."""
    found = set()
    for path in home.rglob("*"):
        name = str(path.relative_to(home))
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file() and not name.startswith(("store/env/", "queue.sqlite")):
            content = path.read_bytes()
        else:
            content = b""
        found |= {(place, name) for place in canaries.found_in(os.fsencode(name) + content)}
    store = home / "store/code.git"
    dump = ["git", f"--git-dir={store}", "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run(dump, check=True, capture_output=True).stdout
    assert b"import os, sys, time" in objects  # what is looked through is the code
    return found | {(place, "code store") for place in canaries.found_in(objects)}


def submitted(lab: LaboratoryUnderTest, root: Path, python: Path, argv: list[str], given: dict[str, str]) -> Any:
    spec = {
        "target": {"kind": "script", "name": "train.py", "argv": [str(python), "train.py", *argv]},
        "source": {"root": str(root), "cwd": "."},
        "interpreter": str(python),
    }
    return lab.call("POST", "/v1/labs/main/experiments", {"spec": spec, "variables": given}, key=os.urandom(8).hex())


def test_no_secret_comes_into_a_record(
    lab: LaboratoryUnderTest, root: Path, python: Path, tmp_path: Path, canaries: Canaries
) -> None:
    go = tmp_path / "go"
    answer = submitted(lab, root, python, [str(go)], variables(canaries, tmp_path))
    label = answer["experiment"]["label"]
    work = tmp_path / "home/labs/main"
    wait_until(lambda: any(work.glob("*/*/work/running")), 30, "the script is running")
    assert leaks(lab.home, canaries) == set()
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert canaries.found_in(command_line.read_bytes()) == set()
        except OSError:
            continue  # it ended meanwhile
    go.touch()
    assert lab.wait_ended(label)["status"] == "succeeded"
    folder = next(work.glob("*/*"))
    recorded = json.loads((folder / "submitted/environment.json").read_text())
    assert recorded["repository"]["remote"] == "https://example.org/a.git"
    assert recorded["variables"]["XLA_FLAGS"] == "--dump_to=https://example.org/"
    assert "private @ git+https://example.org/a.git@f00" in recorded["packages"]
    assert (folder / "submitted/locks/above-1/requirements.txt").read_text() == "-i https://example.org/simple\n"
    assert "# changed" in (folder / "submitted/code.diff").read_text()
    assert leaks(lab.home, canaries) == set()
    answers = json.dumps([answer, lab.show(label), lab.call("GET", "/v1/labs/main/experiments")])
    assert canaries.found_in(answers.encode()) == set()
    assert canaries.found_in(lab.server_log().encode()) == set()


def test_a_secret_on_the_command_line_is_recorded_and_said(
    lab: LaboratoryUnderTest, root: Path, python: Path, tmp_path: Path, canaries: Canaries
) -> None:
    """The negative control, too: what is in a record is found there."""
    go = tmp_path / "go"
    go.touch()
    argv = [str(go), "--api-token", canaries["argument"]]
    answer = submitted(lab, root, python, argv, variables(canaries, tmp_path))
    (said,) = [notice for notice in answer["notices"] if "--api-token" in notice]
    assert "looks like credentials" in said
    assert canaries["argument"] not in json.dumps(answer["notices"])
    lab.wait_ended(answer["experiment"]["label"])
    assert {place for place, _ in leaks(lab.home, canaries)} == {"argument"}
