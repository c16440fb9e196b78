"""What a person sees: a window of our own reads what `lab logs` sends to a terminal, as a terminal would."""

import re
from collections.abc import Iterator

import pytest

from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)

WAITING_BARS = """\
import os, sys, time
from tqdm import tqdm
for step in tqdm(range(100), desc="fit", mininterval=0):
    if step == 40:
        print("half way \\x1b[32mgreen\\x1b[0m \\x1b]0;title\\x07\\x1b[2J", flush=True)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.01)
print("end", file=sys.stderr)
"""


@pytest.fixture
def windows(shared: Shell) -> Iterator[list[Window]]:
    opened: list[Window] = []
    yield opened
    for window in opened:
        window.close()


def open_window(windows: list[Window], shell: Shell, *args: str, **variables: str) -> Window:
    windows.append(Window([*LAB, *args], shell.project, shell.variables | variables))
    return windows[-1]


def on_screen(text: str, columns: int = 80) -> list[str]:
    """What a terminal of ordinary height shows at the end; knows only what our view may send."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+|.", text):
        if up := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(up[1])
        elif part == "\x1b[J":
            del rows[row + 1 :]
            rows[row] = ""
        elif part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part != "\r" and not re.fullmatch(r"\x1b\[[0-9;]*m", part):
            assert part.isprintable(), part
            line = rows[row] + part
            rows[row:] = [line[at : at + columns] for at in range(0, len(line), columns)]
            row = len(rows) - 1
    return [line.rstrip() for line in rows if line.strip()]


def test_a_followed_bar_is_one_line_that_moves(shared: Shell, windows: list[Window]) -> None:
    label = shared.queue(shared.write("fit.py", WAITING_BARS), str(shared.project / "go_on"))
    window = open_window(windows, shared, "logs", "-f", label)
    window.wait("40/100")
    window.wait("half way")
    screen = on_screen(window.text)
    assert sorted(line.split(":")[0].split()[0] for line in screen) == ["fit", "half"]
    (shared.project / "go_on").touch()
    assert window.wait_exit() == 0
    screen = on_screen(window.text)
    assert sorted(line.split(":")[0].split()[0] for line in screen) == ["end", "fit", "half"]
    assert any("100/100" in line for line in screen)
    assert not any("40/100" in line for line in screen)
    assert "\x1b]" not in window.text
    assert "\x1b[2J" not in window.text
    assert "\x1b[0;32mgreen\x1b[0m" in window.text


def test_without_colours_only_ours_of_the_cursor_are_sent(shared: Shell, windows: list[Window]) -> None:
    label = shared.queue("--", "printf", "\\033[31mred\\033[0m \\033[5mblink\\n")
    shared.lab("wait", label)
    window = open_window(windows, shared, "logs", "-f", label, NO_COLOR="1")
    assert window.wait_exit() == 0
    assert on_screen(window.text) == ["red blink"]
    assert "m" not in "".join(re.findall(r"\x1b\[[0-9;]*([A-Za-z])", window.text))


def test_rows_longer_than_the_window_are_replaced_whole(shared: Shell, windows: list[Window]) -> None:
    script = """\
import sys, time
for number in range(1, 6):
    sys.stdout.write("\\r" + str(number) * 200)
    sys.stdout.flush()
    time.sleep(0.1)
print()
"""
    label = shared.queue(shared.write("wide.py", script))
    window = open_window(windows, shared, "logs", "-f", label)
    assert window.wait_exit() == 0
    assert on_screen(window.text) == ["5" * 80, "5" * 80, "5" * 40]


def test_a_row_that_outgrows_the_window_goes_on_below_and_is_not_repeated(shared: Shell, windows: list[Window]) -> None:
    script = """\
import os, sys, time
for number in range(40):
    sys.stdout.write(chr(97 + number % 26) * 100)
    sys.stdout.flush()
    time.sleep(0.05)
print()
"""
    label = shared.queue(shared.write("dots.py", script))
    window = open_window(windows, shared, "logs", "-f", label)
    assert window.wait_exit() == 0
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\s", "", window.text)
    assert text.endswith("n" * 100)
    assert len(text) < 40 * 4000, "what left the window is not printed with every piece"


def test_on_a_terminal_a_large_log_begins_near_its_end_and_says_so(shared: Shell, windows: list[Window]) -> None:
    script = "import os\nfor n in range(3000): os.write(1, b'%06d' % n + b'x' * 993 + b'\\n')\n"
    label = shared.queue(shared.write("large_text.py", script))
    shared.lab("wait", label)
    window = open_window(windows, shared, "logs", label)
    assert window.wait_exit() == 0
    assert "1.9 MiB of stdout come before this: --tail, --since or --raw show more" in window.text
    numbers = re.findall(r"^(\d{6})x", window.text, re.MULTILINE)
    assert numbers[0] == "001952", "the first row is a whole one"
    assert numbers[-1] == "002999"
    raw = open_window(windows, shared, "logs", "--raw", label)
    assert raw.wait_exit() == 0
    assert raw.text.count("xxxx\r\n") == 3000


def test_a_window_that_changes_its_width_keeps_going(shared: Shell, windows: list[Window]) -> None:
    label = shared.queue(shared.write("fit.py", WAITING_BARS), str(shared.project / "go_on_too"))
    window = open_window(windows, shared, "logs", "-f", label)
    window.wait("half way")
    window.resize(10, 40)
    (shared.project / "go_on_too").touch()
    assert window.wait_exit() == 0
    assert "100/100" in window.text
    assert window.text.rstrip().endswith("end")


def test_ctrl_c_leaves_and_the_script_runs_on(shared: Shell, windows: list[Window]) -> None:
    label = shared.queue("--", "sh", "-c", "echo begun; exec sleep 1000")
    window = open_window(windows, shared, "logs", "-f", label)
    window.wait("begun")
    window.type("\x03")
    assert window.wait_exit() == 130
    assert "Traceback" not in window.text
    assert shared.experiment(label)["step"] == "running"
    shared.lab("cancel", label)
    wait_until(lambda: shared.experiment(label)["status"] == "cancelled", 30, "it ends")
