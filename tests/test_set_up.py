"""The two commands that set everything up, tried with machines that lack something: folders put on PATH."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("sh", "cat", "cksum", "dirname", "env", "id", "ln", "mkdir", "touch")


def machine(tmp_path: Path, *, lacks: tuple[str, ...] = (), user: int = 0, apt_works: bool = True) -> Path:
    """Make a folder of programs as on a machine that lacks some; its `apt-get` is a fake that keeps a diary."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*NEEDED, "git", "strace", "faketime", "ssh", "sshd", "ip", "zsh", "fish"):
        found = shutil.which(name)
        if name not in lacks:
            # Where this machine lacks one, something that exists will do: it is not executed here.
            (programs / name).symlink_to(found or "/bin/true")
    (programs / "id").unlink()
    write_program(programs / "id", f"echo {user}")
    installs = "\n".join(f'case "$*" in *install*{name}*) ln -s /bin/true {programs}/{name};; esac' for name in lacks)
    write_program(programs / "apt-get", f'echo "$@" >> {tmp_path}/diary\n' + (installs if apt_works else ""))
    if "python3" not in lacks:
        # Answers the three questions of set-up; `-m venv` and pip only note that they were asked.
        write_program(
            programs / "python3",
            f"""case "$*" in
              *ensurepip*) {"exit 1" if "python3-venv" in lacks else "exit 0"};;
              *"-m venv"*) echo venv >> {tmp_path}/diary; mkdir -p {tmp_path}/venv/bin
                  printf '#!/bin/sh\\necho "$@" >> {tmp_path}/diary\\n' > {tmp_path}/venv/bin/python
                  {shutil.which("chmod")} +x {tmp_path}/venv/bin/python;;
              -V) echo Python 3.11.2;;
            esac""",
        )
    return programs


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def set_up(tmp_path: Path, programs: Path, group: str = "demo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(programs / "sh"), str(ROOT / "requirements/set-up.sh"), group, str(tmp_path / "venv")],
        cwd=tmp_path,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def diary(tmp_path: Path) -> list[str]:
    path = tmp_path / "diary"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.mark.parametrize("lacking", ["git", "python3-venv", "python3"])
def test_an_ordinary_user_gets_the_exact_apt_line_and_status_1(tmp_path: Path, lacking: str) -> None:
    done = set_up(tmp_path, machine(tmp_path, lacks=(lacking,), user=1000))
    assert done.returncode == 1
    wanted = "python3 python3-venv" if lacking == "python3" else lacking
    assert f"apt-get update && apt-get install -y --no-install-recommends {wanted}\n" in done.stderr
    assert diary(tmp_path) == []


def test_root_gets_it_installed_after_a_fresh_package_list(tmp_path: Path) -> None:
    done = set_up(tmp_path, machine(tmp_path, lacks=("git", "strace")), "dev")
    assert done.returncode == 0, done.stderr
    assert diary(tmp_path)[:2] == ["update -qq", "install -y -qq --no-install-recommends git strace"]


def test_root_whose_install_does_not_help_gets_the_line_too(tmp_path: Path) -> None:
    done = set_up(tmp_path, machine(tmp_path, lacks=("git",), apt_works=False))
    assert done.returncode == 1
    assert "apt-get install -y --no-install-recommends git\n" in done.stderr


def test_strace_is_needed_for_the_tests_only(tmp_path: Path) -> None:
    done = set_up(tmp_path, machine(tmp_path, lacks=("strace",), user=1000), "demo")
    assert done.returncode == 0, done.stderr


def test_a_second_call_installs_nothing(tmp_path: Path) -> None:
    programs = machine(tmp_path)
    assert set_up(tmp_path, programs).returncode == 0
    first = diary(tmp_path)
    assert any("--require-hashes" in line for line in first)
    assert any("--no-deps --no-build-isolation" in line for line in first)
    assert set_up(tmp_path, programs).returncode == 0
    assert diary(tmp_path) == first


def test_an_old_python_is_refused_with_its_version(tmp_path: Path) -> None:
    programs = machine(tmp_path)
    write_program(programs / "python3", 'case "$*" in *version_info*) exit 1;; -V) echo Python 3.9.2;; esac')
    done = set_up(tmp_path, programs)
    assert done.returncode == 1
    assert "3.11" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    assert set_up(tmp_path, machine(tmp_path), "prod").returncode == 2


@pytest.mark.parametrize("script", ["requirements/set-up.sh", "examples/hubble/demo.sh", ".ci/run"])
def test_shell_scripts_parse(script: str) -> None:
    shell = "bash" if "bash" in (ROOT / script).read_text(encoding="utf-8").splitlines()[0] else "sh"
    done = subprocess.run([shell, "-n", str(ROOT / script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", ["demo", "test", "night", "check", "clean", "help"])
def test_make_knows_its_targets(target: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_just_knows_what_check_does() -> None:
    just = Path(sys.executable).with_name("just")
    done = subprocess.run([str(just), "--dry-run", "check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "tests/test_house.py", "pytest"):
        assert tool in done.stderr + done.stdout
