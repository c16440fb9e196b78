"""`lab metrics`: what an experiment measured."""

from collections.abc import Callable
from typing import Any

import click

from labrun.cli import curves
from labrun.cli.connect import connect, resolve
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.table import visible
from labrun.client.api import Client

_WAIT_S = 20.0
_STEP_COLUMNS = 8


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Print every point, and go on until it ends.")
@click.option("--points", is_flag=True, help="Print every point instead of the table.")
@click.option("--csv", "is_csv", is_flag=True, help="Print every point as CSV: name, step, value, time.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt; the last one unless given.")
@click.option("--maximize", multiple=True, metavar="NAME", help="The best of this metric is its largest value.")
@click.option("--minimize", multiple=True, metavar="NAME", help="The best of this metric is its smallest value.")
@common_options
@click.pass_obj
def metrics(
    output: Output,
    reference: str,
    names: tuple[str, ...],
    follow: bool,
    points: bool,
    is_csv: bool,
    attempt: int | None,
    maximize: tuple[str, ...],
    minimize: tuple[str, ...],
    lab: str,
) -> int:
    """Show what an experiment measured: last, best, smallest and largest value of each metric, and its curve.

    NAME chooses metrics. The best is told where the name says which way is better (loss: down, accuracy:
    up) or an option does. --quiet prints last values alone; --json the summary, with --points or -f one
    object per point.

    \b
    Example:
      lab metrics EXP-054
      lab metrics EXP-054 val/loss --csv > val.csv
    """
    client = connect(output, lab)
    experiment = client.experiment(resolve(client, reference))["experiment"]
    resolved, label = experiment["run_id"], experiment["label"]  # `latest` may be another one in a moment
    if follow or points or is_csv:
        _print_points(output, client, resolved, names, attempt, follow=follow, is_csv=is_csv)
        return 0
    told = curves.summary(client, resolved, label, names, attempt)
    curves.set_goals(told["series"], {**dict.fromkeys(minimize, "min"), **dict.fromkeys(maximize, "max")})
    if output.face == "json":
        output.json(told)
    elif output.face == "quiet":
        lasts = [curves.number(one["last"]) for one in told["series"]]
        tags = ["" if len(names) == 1 else f"{visible(one['name'])}\t" for one in told["series"]]
        output.data(*map("".join, zip(tags, lasts, strict=True)))
    else:
        if told["series"]:
            output.data(*curves.summary_table(output, told["series"]))
        else:
            output.say(f"lab: attempt {told['attempt']} of {label} measured nothing")
        output.say(*curves.remarks(told, told["name_count"] if names else len(told["series"])))
    return 0


def _print_points(
    output: Output,
    client: Client,
    reference: str,
    names: tuple[str, ...],
    attempt: int | None,
    *,
    follow: bool,
    is_csv: bool,
) -> None:
    if is_csv and output.face != "json":
        output.data("name,step,value,time")
    write: Callable[[dict[str, Any]], str] = _csv if is_csv else _line
    after: str | None = None
    rejected, rejected_count = [], 0
    while True:
        wait_s = _WAIT_S if follow else 0.0
        page = client.metrics(reference, names=names, after=after, attempt=attempt, wait_s=wait_s)
        attempt, after = page["attempt"], page["next"]
        if output.face == "json":
            for point in page["points"]:
                output.json(point)
        else:
            output.data(*[write(point) for point in page["points"]])
        rejected += page["rejected"]
        rejected_count += page["rejected_count"]
        if page["is_over"] or not (follow or page["has_more"]):
            break
    output.say(*curves.rejections(rejected_count, rejected[:3]))


def _line(point: dict[str, Any]) -> str:
    step = curves.number(point.get("step"))
    return f"{step:>{_STEP_COLUMNS}}  {visible(point['name'])}  {curves.number(point['value'])}"


def _csv(point: dict[str, Any]) -> str:
    """One line of CSV. Control characters are written out: they could steer a terminal.

    Source:
        RFC 4180, section 2.
    """
    name = visible(point["name"])
    if any(char in name for char in '",'):
        name = '"' + name.replace('"', '""') + '"'
    step, at = point.get("step"), point.get("time")
    return f"{name},{'' if step is None else step},{point['value']},{'' if at is None else at}"
