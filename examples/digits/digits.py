"""Teach a small neural network to read the 1,797 handwritten digits that come with scikit-learn.

One hidden layer, trained by stochastic gradient descent, one pass over the training digits an epoch. After each
epoch it prints a line and says two numbers: `loss` on the training digits, `val_accuracy` on digits it never
learnt from. The split is the same for every seed, so that experiments can be compared.

Sources:
    Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
        the test part, as `sklearn.datasets.load_digits` has it: 8 x 8 pixels of 0 to 16.
    Network: `sklearn.neural_network.MLPClassifier`, momentum 0.9.
"""

import argparse
import csv
import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

try:
    from labrun import log_metric
except ModuleNotFoundError:  # an environment without labrun: the line that it would have written

    def log_metric(name: str, value: float, step: int) -> None:  # type: ignore[misc]
        """Say one number; outside an experiment nobody listens."""
        with Path(os.environ.get("LAB_METRICS", os.devnull)).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"name": name, "value": value, "step": step}) + "\n")


BRIGHTEST = 16.0  # of a pixel
HIGHEST_LOSS = 10 * math.log(10)  # ten times what guessing among ten digits costs
BAR = 20  # characters


class Diverged(ArithmeticError):
    """The loss grows instead of falling; going on would waste the machine."""


class Digits(NamedTuple):
    """What is learnt from, and what it is tried on."""

    images: NDArray[np.float64]
    """Shape (n, 64), 0 to 1."""
    labels: NDArray[np.int64]
    """Shape (n,), 0 to 9."""
    unseen_images: NDArray[np.float64]
    unseen_labels: NDArray[np.int64]


def read_digits() -> Digits:
    """Divide the digits in 1,347 to learn from and 450 to try, each digit in its share."""
    images, labels = load_digits(return_X_y=True)
    learn, unseen, learn_labels, unseen_labels = train_test_split(
        images / BRIGHTEST, labels, test_size=0.25, random_state=0, stratify=labels
    )
    return Digits(learn, learn_labels, unseen, unseen_labels)


def train(digits: Digits, options: argparse.Namespace) -> tuple[MLPClassifier, list[float]]:
    """Train epoch by epoch; give the network and its accuracy on unseen digits after each.

    Raises:
        Diverged: The loss is far above that of guessing.
    """
    network = MLPClassifier(
        hidden_layer_sizes=(options.hidden,),
        solver="sgd",
        learning_rate_init=options.learning_rate,
        batch_size=options.batch_size,
        random_state=options.seed,
    )
    accuracies: list[float] = []
    for epoch in range(1, options.epochs + 1):
        network.partial_fit(digits.images, digits.labels, classes=np.arange(10))
        loss = float(network.loss_)
        accuracy = float(network.score(digits.unseen_images, digits.unseen_labels))
        accuracies.append(accuracy)
        log_metric("loss", loss, epoch)
        log_metric("val_accuracy", accuracy, epoch)
        bar = "#" * (BAR * epoch // options.epochs)
        print(f"epoch {epoch}/{options.epochs} [{bar:.<{BAR}}] loss {loss:.4f}, unseen {accuracy:.1%}", flush=True)
        if not loss < HIGHEST_LOSS:
            raise Diverged(f"loss {loss:.4g} after epoch {epoch} with learning rate {options.learning_rate:g}")
    return network, accuracies


def write_results(
    folder: Path, digits: Digits, network: MLPClassifier, accuracies: list[float], options: argparse.Namespace
) -> None:
    """Write which digits are taken for which, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    taken_for = confusion_matrix(digits.unseen_labels, network.predict(digits.unseen_images), labels=range(10))
    with (folder / "confusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["digit", *range(10)])
        writer.writerows([digit, *row] for digit, row in enumerate(taken_for.tolist()))
    summary = {
        "val_accuracy": accuracies[-1],
        "best_val_accuracy": max(accuracies),
        "best_epoch": accuracies.index(max(accuracies)) + 1,
        "loss": float(network.loss_),
        "unseen": len(digits.unseen_labels),
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "hidden": options.hidden,
        "batch_size": options.batch_size,
        "seed": options.seed,
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Teach a small neural network to read handwritten digits.")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the digits (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of the descent (default %(default)s)")
    parser.add_argument("--hidden", type=int, default=32, help="neurons of the hidden layer (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="digits of one step (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same network (default %(default)s)")
    parser.add_argument(
        "--fail", action="store_true", help="a learning rate 1,000 times too high, to see how a failure looks"
    )
    options = parser.parse_args()
    for name in ("epochs", "learning_rate", "hidden", "batch_size"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be positive")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    if options.fail:
        options.learning_rate *= 1_000
    return options


def main() -> None:
    """Train, write, report."""
    options = parse_options()
    folder = Path(os.environ.get("LAB_OUTPUT_PATH", "outputs"))
    digits = read_digits()
    print(f"{len(digits.labels)} digits to learn from, {len(digits.unseen_labels)} unseen", flush=True)
    network, accuracies = train(digits, options)
    write_results(folder, digits, network, accuracies, options)
    print(f"reads {accuracies[-1]:.1%} of the unseen digits; wrote confusion.csv and summary.json to {folder}")


if __name__ == "__main__":
    main()
