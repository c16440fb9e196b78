"""The house rules, so that nobody has to remember them. CONTRIBUTING.md says them in words."""

import ast
import doctest
import importlib
import io
import pkgutil
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

import labrun
from labrun.core.errors import error_classes
from labrun.settings import Settings

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/labrun"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROGRAMS = Path(sys.executable).parent


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    """Every file that is, or would be, part of the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0 and listing.stdout:
        found = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
        return [path for path in found if path.is_file()]
    hidden = (".venv", ".git", "__pycache__", ".lab-demo", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
    return [path for path in ROOT.rglob("*") if path.is_file() and not set(path.parts) & set(hidden)]


def comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def check(*command: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(Path.home()), "NO_COLOR": "1"} | variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


# --- tools


def test_imports_point_one_way() -> None:
    done = check("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "breach"),
    [
        ("core/ids.py", "import time"),
        ("cli/output.py", "import labrun.store.home"),
        ("client/__init__.py", "import labrun.worker.parts"),
        ("worker/parts.py", "import labrun.settings"),
        ("store/home.py", "import labrun.worker.parts"),
        ("server/app.py", "import labrun.testing"),
    ],
)
def test_a_forbidden_import_would_be_found(tmp_path: Path, room: str, breach: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "src/labrun" / room
    path.write_text(path.read_text(encoding="utf-8") + f"\n{breach}\n", encoding="utf-8")
    done = check("lint-imports", "--no-cache", cwd=tmp_path, PYTHONPATH=str(tmp_path / "src"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def test_the_linter_finds_nothing() -> None:
    done = check("ruff", "check", "--no-cache", "--output-format", "concise")
    assert done.returncode == 0, done.stdout


def test_the_code_has_its_one_format() -> None:
    done = check("ruff", "format", "--no-cache", "--check")
    assert done.returncode == 0, done.stdout


def test_the_types_fit() -> None:
    done = check("mypy", "--no-color-output")
    assert done.returncode == 0, done.stdout


# --- sizes and names


def test_modules_are_small() -> None:
    sizes = {called(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > 600} == {}


def test_long_modules_give_a_reason() -> None:
    for path in MODULES:
        if len(path.read_text(encoding="utf-8").splitlines()) > 400:
            given = [text for _, text in comments(path) if text.startswith("# Long because ")]
            assert given, f"{called(path)} has more than 400 lines and no comment `# Long because …`"


def test_functions_are_short() -> None:
    long = [
        f"{called(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 80
    ]
    assert long == []


VAGUE_WORDS = {"Manager", "Handler", "Helper", "Service", "Impl"}
VAGUE_MODULES = {"utils", "util", "common", "misc", "helpers", "manager", "base"}


def test_names_say_what_a_thing_is() -> None:
    vague = []
    for path in MODULES:
        vague += [called(path) for part in path.relative_to(SOURCE).with_suffix("").parts if part in VAGUE_MODULES]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                words = re.findall(r"[A-Z][a-z0-9]*", node.name)
                if set(words) & VAGUE_WORDS or words[:1] in (["Base"], ["Abstract"]):
                    vague.append(f"{called(path)}:{node.lineno} {node.name}")
    assert vague == []


def test_every_room_has_a_door_plate_of_at_most_ten_lines() -> None:
    for path in SOURCE.rglob("__init__.py"):
        plate = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert plate, f"{called(path)} has no docstring"
        assert len(plate.splitlines()) <= 10, f"the docstring of {called(path)} is too long"


# --- habits


def test_a_todo_names_its_issue() -> None:
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b(?!\s*\(?#\d+)")
    loose = [
        f"{called(path)}:{line}"
        for path in [*MODULES, *TESTS, *(ROOT / "bench").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
        for line, text in comments(path)
        if marks.search(text)
    ]
    assert loose == []


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds
    )


def test_a_broad_except_says_why() -> None:
    silent = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        said = {line: re.sub(r"#|noqa(: *[A-Z0-9, ]+)?", "", comment).strip() for line, comment in comments(path)}
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler) or not is_broad(node):
                continue
            is_cleanup = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            near = range(node.lineno - 1, node.body[0].lineno + 1)
            if not is_cleanup and not any(len(said.get(line, "").split()) >= 3 for line in near):
                silent.append(f"{called(path)}:{node.lineno}")
    assert silent == []


def test_tests_mock_nothing() -> None:
    mocked = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ImportFrom(module=str(module)) if "mock" in module:
                    mocked.append(f"{called(path)}:{node.lineno}")
                case ast.Import(names=names) if any("mock" in alias.name for alias in names):
                    mocked.append(f"{called(path)}:{node.lineno}")
                case ast.Attribute(value=ast.Name(id="monkeypatch"), attr=verb) if verb not in ("setenv", "delenv"):
                    mocked.append(f"{called(path)}:{node.lineno}")
    assert mocked == []


def test_a_test_that_sleeps_says_why() -> None:
    # Waiting for something is `wait_until`; a sleep is for what cannot be waited for, a random moment say.
    asleep = []
    for path in TESTS:
        said = dict(comments(path))
        asleep += [
            f"{called(path)}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
            and path.name.startswith("test_")
            and len(said.get(node.lineno, "").split()) < 3
        ]
    assert asleep == []


def test_doctests_hold() -> None:
    tried = 0
    for found in pkgutil.walk_packages(labrun.__path__, "labrun."):
        if not found.name.endswith("__main__"):
            failed, count = doctest.testmod(importlib.import_module(found.name))
            assert failed == 0, found.name
            tried += count
    assert tried > 10


# --- documents


def test_generated_parts_of_the_documents_are_fresh() -> None:
    done = check(sys.executable, "docs/generate.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    assert [code for code in error_classes() if f"`{code}`" not in page] == []


def test_settings_are_documented_and_few() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Settings) if f"`{field.name}`" not in page] == []
    assert len(fields(Settings)) <= 40


def commands() -> dict[str, click.Command]:
    cli = importlib.import_module("labrun.cli.main")
    group = next(value for value in vars(cli).values() if isinstance(value, click.Group))
    context = click.Context(group, info_name="lab")
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None and not command.hidden}


def test_every_command_is_a_file_a_section_and_a_test_file() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for name in commands():
        module = name.replace("-", "_")
        assert f"\n## lab {name}\n" in page
        assert (SOURCE / f"cli/{module}.py").exists() or (SOURCE / f"cli/{module}_.py").exists(), name
        assert list((ROOT / "tests/cli").glob(f"test_{module}*.py")), f"no tests/cli/test_{module}.py"


def test_command_files_are_short() -> None:
    long = {}
    for name in commands():
        path = SOURCE / f"cli/{name.replace('-', '_')}.py"
        if path.exists() and (lines := len(path.read_text(encoding="utf-8").splitlines())) > 150:
            long[name] = lines
    assert long == {}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [path for path in tracked() if path.suffix == ".md"]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        broken += [
            f"{called(page)}: {target}"
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
        ]
    assert broken == []


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    # Split, so that this file does not find itself.
    hosts = ("py" + "pi.org", "pythonhosted" + ".org", "registry." + "npmjs", "deb.debian" + ".org", "index-" + "url")
    paths = re.compile(r"(?<![\w.<>{}()…/*~-])/(?:wo" + r"rk/(?:main|shared|\.)|ro" + r"ot/)")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if any(host in line for host in hosts) or paths.search(line):
                found.append(f"{called(path)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_requirements_are_hashed_and_complete() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    core = project["project"]["dependencies"]
    for name, wanted in {
        "demo": core + groups["demo"] + groups["build"],
        "dev": core + groups["demo"] + groups["build"] + groups["dev"],
    }.items():
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        blocks = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
        pinned = {block.split("==")[0].lower() for block in blocks}
        asked = {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in wanted}
        assert asked <= pinned
        assert all("--hash=sha256:" in block for block in blocks)
