"""`lab info`: one experiment on one screen: what, why, how it stands, where."""

import click

from labrun.cli import curves
from labrun.cli.connect import connect, resolve
from labrun.cli.info_screen import measured, screen
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client
from labrun.core.errors import NotFound


@click.command()
@click.argument("reference", metavar="[EXPERIMENT]", default="latest")
@click.option("--metrics", "--show-metrics", "has_metrics", is_flag=True, help="A table of what it measured, too.")
@common_options
@click.pass_obj
def info(output: Output, reference: str, has_metrics: bool, lab: str) -> int:
    """Show one experiment: what it runs, why, how it stands, where its files are.

    EXPERIMENT is a label, a unique prefix, a name, a path, `latest` or `latest~2`; the latest when
    left out. --quiet prints its folder alone.

    \b
    Example:
      lab info EXP-054
    """
    client = connect(output, lab)
    detail = client.experiment(resolve(client, reference))
    if has_metrics and detail["metrics"]:
        one = detail["experiment"]
        detail["metrics"] = curves.summary(client, one["run_id"], one["label"])
    if output.face == "json":
        output.json(detail)
    elif output.face == "quiet":
        output.data(detail["experiment"]["folder"] or "")
    else:
        if (parent := detail["narrative"].get("parent_run")) is not None:
            detail["narrative"]["parent_run"] = _named(client, parent)
        output.data(*screen(output, detail))
        if has_metrics:
            output.data("", *measured(output, detail["metrics"]))
    return 0


def _named(client: Client, run_id: str) -> str:
    """An experiment as people call it; its run id when nobody knows it here."""
    try:
        one = client.experiment(run_id)["experiment"]
    except NotFound:
        return run_id
    return f"{one['label']} {one['name']}" if one["name"] else str(one["label"])
