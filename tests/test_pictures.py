"""The terminal pictures of the documents: whole, shown somewhere, and what the commands print now."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """`docs/pictures/make.py`, which lies in no package."""
    spec = importlib.util.spec_from_file_location("make_pictures", PICTURES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_shown_by_a_document() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = set(re.findall(r"/([\w-]+\.svg)\)", "".join(page.read_text(encoding="utf-8") for page in pages)))
    assert {path.name for path in PICTURES.glob("*.svg")} == shown


def test_pictures_name_no_machine_and_ask_the_network_for_nothing(make: ModuleType) -> None:
    for path in PICTURES.glob("*.svg"):
        drawing = path.read_text(encoding="utf-8")
        assert "@font-face" not in drawing, path.name
        assert "url(http" not in drawing, path.name
        lines = make.texts(drawing)
        assert lines[0].startswith("$ lab "), path.name
        assert len(lines) > 1, path.name
        folders = set(re.findall(r"(?<![\w.~/])/(?:\w+/\w+)", "\n".join(lines)))
        assert folders <= {make.SHOWN_HOME}, path.name


def test_a_picture_read_back_is_what_was_drawn(make: ModuleType) -> None:
    lines = ["\x1b[1mrunning\x1b[0m", "  EXP-001  a <b> & c", "", "x" * (make.COLUMNS + 5)]
    drawn = make.draw("one", ["lab", "status"], lines)
    assert make.texts(drawn) == [
        "$ lab status",
        "running",
        "  EXP-001  a <b> & c",
        "",
        "x" * make.COLUMNS,
        "xxxxx",
    ]


@pytest.mark.parametrize(
    ("before", "now", "is_same"),
    [
        ("EXP-003  12 s ago   loss 0.07  █▂▁", "EXP-003  1.3 min ago  loss 7e-05  █▁▁▁", True),
        ("long  58 %  -", "long  3 %  -", True),
        ("ended  2026-11-21 09:12:26", "ended  2027-01-02 10:00:00", True),
        ("epoch 1/12 [#....]", "epoch 2/12 [##...]", True),
        ("EXP-003  succeeded", "EXP-003  failed", False),
        ("failed: code error", "why: code error", False),
        ("1 running, 2 waiting", "1 running", False),
        ("     at fit.py:3", "        at fit.py:7", False),
    ],
)
def test_the_check_sees_words_and_passes_over_numbers(make: ModuleType, before: str, now: str, is_same: bool) -> None:
    assert (make.structure([before]) == make.structure([now])) is is_same


@pytest.mark.night
def test_pictures_are_what_the_commands_print_now() -> None:
    done = subprocess.run(
        [sys.executable, str(PICTURES / "make.py"), "--check"], capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
