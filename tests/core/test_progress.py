import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress as RichProgress
from tqdm import tqdm

from labrun.core.progress import progress_in, read_bar, seconds_of

LINE = "━" * 20
BARS = [
    ("fit:  45%|████▌     | 45/100 [00:12<00:15,  3.50it/s, loss=30%]", 45.0, 15.0),
    (" 45%|####5     | 45/100 [1:00:12<1 day, 2:00:15,  3.50s/it]", 45.0, 93615.0),
    ("  0%|          | 0/100 [00:00<?, ?it/s]", 0.0, None),
    ("100%|██████████| 100/100 [00:10<00:00,  9.00it/s]", 100.0, 0.0),
    ("Epoch 3:  45%|████▌     | 45/100 [00:12<00:15,  3.50it/s, v_num=3]", 45.0, 15.0),
    (" 45/100 [============>.................] - ETA: 12s - loss: 0.3000 - accuracy: 0.9", 45.0, 12.0),
    (" 45/100 [============>.................] - ETA: 1:02:03 - loss: 0.3000", 45.0, 3723.0),
    (f" 45/100 {LINE} 12s 264ms/step - accuracy: 0.1", 45.0, 12.0),
    (f"100/100 {LINE} 26s 264ms/step - accuracy: 0.1", 100.0, 0.0),
    (f"   {LINE} 12.3/45.6 MB 10.2 MB/s eta 0:00:03", 27.0, 3.0),
    (f"Working... {LINE}╸{LINE}  45% 0:00:12", 45.0, 12.0),
    (f"Working... {LINE}╸{LINE}  45% -:--:--", 45.0, None),
    ("on 45: |███▌      | 45/100 [45%] in 4s (~5s, 10.9/s)", 45.0, 5.0),
    (" 45% (45 of 100) |####    | Elapsed Time: 0:00:12 ETA:   0:00:15", 45.0, 15.0),
    ("big.bin    45%[=====>       ] 1,234  1.2MB/s  eta 1m 12s", 45.0, 72.0),
    ("label  [####----]   45%  00:00:12", 45.0, 12.0),
    ("Progress: [ 45%] [##########..........]", 45.0, None),
    ("epoch 1/20 [#...................] loss 2.06, unseen 57.8%", 5.0, None),
    ("epoch 12/12 [####################] loss 0.18, unseen 96.0%", 100.0, 0.0),
    ("file 1/3 [#########...........] 12.3 MB, 45%", 45.0, None),
    (f"epoch 1/20 {LINE} 45%", 45.0, None),
    ("Sampling 4 chains: [====>     ] 12.5% | 00:01:00 remaining", 12.5, 60.0),
]


@pytest.mark.parametrize(("text", "percent", "left_s"), BARS)
def test_bars_say_percent_and_time_left(text: str, percent: float, left_s: float | None) -> None:
    found = read_bar(text, is_rewritten=False)
    assert found is not None
    assert (found.percent, found.left_s) == (percent, left_s)


@pytest.mark.parametrize(
    "text",
    [
        "accuracy 45%",
        "step 45/100 loss 0.3",
        "| model | 45% |",
        "|-------|-----|",
        "acc 45% [-----]",
        "-" * 40,
        "150%|██████████| what",
        "[==========] no number",
        "2026/11/21 12:00:00 [=====] started",
        "",
    ],
)
def test_a_line_that_draws_no_bar_is_no_progress(text: str) -> None:
    assert read_bar(text, is_rewritten=False) is None


def test_a_line_rewritten_in_place_is_progress_if_it_says_one_number() -> None:
    assert progress_in(b"step 1/8\rstep 2/8") is not None
    assert progress_in(b" 10% done\r 20% done").percent == 20.0  # type: ignore[union-attr]  # it is there
    assert progress_in(b"epoch 1/3 step 1/8\repoch 1/3 step 2/8") is None, "which of the two would be a guess"
    assert progress_in(b"acc 10% loss 3%\racc 20% loss 2%") is None
    assert progress_in(b"9/8\r10/8") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:05", 5), ("1:00:00", 3600), ("2 days, 0:00:01", 172801), ("1m 5s", 65), ("1h2m", 3720), ("250ms", 0.25)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_of_nested_bars_the_outer_one_counts() -> None:
    log = io.StringIO()
    for epoch in tqdm(range(4), file=log, desc="outer", mininterval=0):
        for step in tqdm(range(50), file=log, desc="inner", mininterval=0, leave=False):
            if (epoch, step) == (2, 20):
                cut = log.getvalue()
    found = progress_in(cut.encode())
    assert found is not None
    assert found.percent == 50.0
    assert found.text.startswith("outer: 50%|")
    tail = progress_in(cut.encode()[-2000:])
    assert tail is not None, "the end of the log suffices"


def test_of_several_bars_the_first_unfinished_one_counts() -> None:
    log = io.StringIO()
    with RichProgress(console=Console(file=log, force_terminal=True, width=80), auto_refresh=False) as progress:
        load, fit = progress.add_task("load", total=10), progress.add_task("fit", total=10)
        progress.update(load, completed=10)
        progress.update(fit, completed=4)
        progress.refresh()
        found = progress_in(log.getvalue().encode())
    assert found is not None
    assert found.percent == 40.0
    assert found.text.startswith("fit ")


def test_epochs_of_keras_are_counted_into_the_whole() -> None:
    bar = "\x1b[1m{}/100\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m━━━━━━\x1b[0m \x1b[1m{}\x1b[0m 100ms/step - loss: 0.3"
    first = (
        "Epoch 1/4\n"
        + "".join(bar.format(step, "10s") + "\b" * 70 + "\r" for step in range(1, 100))
        + bar.format(100, "10s")
        + "\n"
    )
    second = "Epoch 2/4\n" + "\r".join(bar.format(step, f"{(100 - step) // 10}s") for step in range(1, 51))
    found = progress_in((first + second).encode())
    assert found is not None
    assert found.percent == 37.5
    assert found.left_s == pytest.approx(25.0), "this epoch's 5 s, and two epochs of 10 s"
    assert found.text.startswith("Epoch 2/4 50/100 ")


@pytest.mark.parametrize("label", ["", "fit: ", "epoch {} "])
def test_of_a_bar_that_is_printed_line_by_line_the_last_line_counts(label: str) -> None:
    lines = [f"{label.format(i)}{i * 10}%|###   | {i}/10 [00:01<00:{10 - i:02}]\n" for i in range(10)]
    found = progress_in("".join(["reading\n", *lines]).encode())
    assert found is not None
    assert (found.percent, found.left_s) == (90.0, 1.0)
    other = progress_in("".join([*lines, "val: 20%|##    | 2/10\n"]).encode())
    assert other is not None
    assert other.percent == 90.0, "another bar, which does not take the place of the first unfinished one"
    assert progress_in("".join([*lines, f"{label.format(10)}100%|######| 10/10\n", "done\n"]).encode()) is None


def test_finished_bars_count_only_while_nothing_follows() -> None:
    done = b"100%|##########| 9/9 [00:01<00:00, 9.0it/s]\n"
    assert progress_in(done).percent == 100.0  # type: ignore[union-attr]  # it is there
    assert progress_in(done + b"writing the model\n") is None
    assert progress_in(b" 50%|#####     | 5/9 [00:01<00:01, 9.0it/s]\nloss 0.3\n").percent == 50.0  # type: ignore[union-attr]
    assert progress_in(b" 50%|#####     | 5/9 [00:01<00:01, 9.0it/s]\n" + b"loss 0.3\n" * 100) is None, "long ago"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_trouble(tail: bytes) -> None:
    found = progress_in(tail)
    assert found is None or 0 <= found.percent <= 100


@given(st.text(alphabet="0123456789:%/|[]<>#=-. ETAetasmhd,days\u2501", max_size=240))
def test_any_line_is_read_without_trouble(text: str) -> None:
    found = read_bar(text, is_rewritten=True)
    assert found is None or (0 <= found.percent <= 100 and (found.left_s is None or found.left_s >= 0))


def test_recorded_logs_of_other_programs() -> None:
    # Progbar of Keras 2.15 and 3, and pip 23.2 on a terminal of 80 columns, cut in the middle
    folder = Path(__file__).parents[1] / "data/progress"
    found = {path.stem: progress_in(path.read_bytes()) for path in sorted(folder.iterdir())}
    assert {name: (one.percent, one.left_s) if one else None for name, one in found.items()} == {
        "keras2": (62.5, 1.0),
        "keras3": (31.2, 3.7),
        "pip": (50.4, 1.0),
    }
