"""What `make demo` does after its set-up, in a copy of the working tree."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_runs_shows_the_record_and_leaves_no_server(tmp_path: Path) -> None:
    copy = tmp_path / "labrun"
    copy.mkdir()
    shutil.copytree(ROOT / "examples", copy / "examples")
    shutil.copy(ROOT / "pyproject.toml", copy)
    # Where set-up would make an environment lies the one that runs this test.
    (copy / ".venv").symlink_to(sys.prefix)
    (copy / ".gitignore").write_text(".venv\n.lab-demo/\n")
    done = subprocess.run(
        ["sh", str(copy / "examples/hubble/demo.sh")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "USER": "ada", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "posterior mean: slope 452.7" in done.stdout
    assert "$ lab info latest" in done.stdout
    for name in (
        "README.md",
        "run_manifest.json",
        "outputs/hubble.png",
        "outputs/chains/chain-4.csv",
        "attempts/1/seal.json",
    ):
        assert f"    {name}\n" in done.stdout
    assert '"least_squares"' in done.stdout
    assert not (copy / ".lab-demo/server.sock").exists()
