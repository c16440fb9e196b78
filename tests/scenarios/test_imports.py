"""What Python imports is the frozen code: editable installs and import paths, edited while the experiment runs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.capture.installed import editable, install, make_environment, pip_freeze, project, site_of
from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest

pytestmark = pytest.mark.timeout(120)

SCRIPT = """\
import os, sys, time
open("running", "w").close()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
import pkg, tool
print(pkg.said, tool.said)
"""
FINDER = """\
import sys
from importlib.util import spec_from_file_location
MAPPING = {{'pkg': '{root}/src/pkg'}}
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return spec_from_file_location(name, MAPPING[name] + '/__init__.py') if name in MAPPING else None
sys.meta_path.append(Finder)
"""


@pytest.mark.parametrize("way", ["path line", "finder"])
@pytest.mark.parametrize("place", ["root", "subfolder", "elsewhere"])
def test_code_edited_after_submit_is_not_what_runs(
    lab: LaboratoryUnderTest, tmp_path: Path, way: str, place: str
) -> None:
    files = {"src/pkg/__init__.py": "said = 'old'\n", "lib/tool.py": "said = 'old'\n", "run/train.py": SCRIPT}
    root, python = project(tmp_path / "root", files), make_environment(tmp_path / "env")
    left = (
        {"_p.pth": f"{root}/src"} if way == "path line" else {"_p.pth": "import _f", "_f.py": FINDER.format(root=root)}
    )
    install(site_of(python), "pkg", "1.0", direct=editable(root), files=left)
    go, cwd = tmp_path / "go", {"root": ".", "subfolder": "run", "elsewhere": str(tmp_path)}[place]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": f"{root}/lib"}
    script = {"root": "run/train.py", "subfolder": "train.py", "elsewhere": f"{root}/run/train.py"}[place]
    spec: dict[str, Any] = {
        "target": {"kind": "script", "name": script, "argv": [str(python), script, str(go)]},
        "source": {"root": str(root), "cwd": cwd, "cwd_is_live": place == "elsewhere"},
        "interpreter": str(python),
    }
    body = {"spec": spec, "variables": variables}
    label = lab.call("POST", "/v1/labs/main/experiments", body, key=os.urandom(8).hex())["experiment"]["label"]
    folder = Path(lab.home, "labs/main")
    wait_until(lambda: any(folder.glob("*/*/work/**/running")) or (tmp_path / "running").exists(), 30, "it runs")
    (root / "src/pkg/__init__.py").write_text("said = 'new'\n")
    (root / "lib/tool.py").write_text("said = 'new'\n")
    go.touch()
    assert lab.wait_ended(label)["status"] == "succeeded"
    (folder,) = folder.glob("*/*")
    assert (folder / "attempts/1/stdout.log").read_text() == "old old\n"
    recorded = json.loads((folder / "submitted/environment.json").read_text())
    assert recorded["packages"] == pip_freeze(python, tmp_path)
    assert recorded["python"]["executable"] == str(python)
