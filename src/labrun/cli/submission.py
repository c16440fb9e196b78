"""From a command line to a request: options of `run` and `queue`, laid over everything else that says something."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from labrun import settings
from labrun.capture import resolve
from labrun.capture.caller import Caller, host_name, is_readable_text, process_settings, user_name
from labrun.capture.placement import find_root, never_roots
from labrun.capture.resolve import STDIN_LIMIT_BYTES
from labrun.cli import surroundings
from labrun.cli.connect import chosen_host, connect, is_somebody_there
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.client.api import Client
from labrun.core.errors import BadValue, NotRunnable, TooBig
from labrun.core.layers import RESOURCES, Layer, Merged, anchored, lay_over

if TYPE_CHECKING:  # start-up time: only with another machine in front
    from labrun.client.remote import RemoteClient


class Submission(NamedTuple):
    """What is sent, what is said about it, and where each value came from."""

    request: dict[str, Any]
    notices: tuple[str, ...]
    hint: str | None
    """When an option of ours was found among the script's arguments."""
    merged: Merged


class SubmitCommand(click.Command):
    """A command whose options end at the script: everything after it is the script's, verbatim."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Cut the command line where ours ends and keep the rest untouched."""
        taking, flags = set[str](), set[str]()
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option):
                (flags if parameter.is_flag else taking).update(parameter.opts)
        ours, words, is_program = split(args, taking, flags)
        ctx.meta["words"], ctx.meta["is_program"] = words, is_program
        ctx.meta["options"] = frozenset(name for name in taking | flags if name.startswith("--"))
        return super().parse_args(ctx, ours)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete our options, and files: what follows is a script."""
        from click.shell_completion import CompletionItem  # start-up time: only for the tab key

        if incomplete.startswith("-") and not ctx.meta.get("words"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(incomplete, type="file")]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show what may follow the options."""
        return ["[OPTIONS] SCRIPT [ARGS]...  |  [OPTIONS] -m MODULE [ARGS]...  |  [OPTIONS] -- PROGRAM [ARGS]..."]


def split(args: Sequence[str], taking: set[str], flags: set[str]) -> tuple[list[str], list[str], bool]:
    """Cut a command line into our options, the script's words, and whether `--` stood between.

    Args:
        args: Everything after the command's name.
        taking: Our options that take a value, as they are written.
        flags: Our options that take none.

    Returns:
        Ours (for the parser to read, or to complain about), the rest verbatim, whether it is a program.
    """
    at = 0
    while at < len(args):
        word = args[at]
        if word == "--":
            return list(args[:at]), list(args[at + 1 :]), True
        if word == "-m" or (word.startswith("-m") and not word.startswith("--")):
            end = min(at + (2 if word == "-m" else 1), len(args))
            return list(args[:end]), list(args[end:]), False
        if not word.startswith("-") or word == "-":
            break
        if word in taking:
            at += 2
        elif word in flags or (word.startswith("--") and word.partition("=")[0] in taking):
            at += 1
        else:
            return list(args[: at + 1]), list(args[at + 1 :]), False  # unknown: the parser says so
    return list(args[:at]), list(args[at:]), False


def submit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a submit."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option("-m", "module", metavar="MODULE", help="Run a module, as `python -m` does; ends our options."),
        click.option("-f", "--file", metavar="FILE", help="Take it from an experiment file; options here win."),
        click.option("--name", metavar="TEXT", help="A name to find it by; need not be unique."),
        click.option("--note", metavar="TEXT", help="Why you run it; kept with the record."),
        click.option("--priority", metavar="1-10|WORD", help="1 whenever, 10 first; low, normal, high, critical."),
        click.option("--timeout", metavar="TIME", help="Stop it after 90s, 15m, 4h, 1h30m …"),
        click.option("--grace", metavar="TIME", help="Between the polite signal and the kill; 10s unless given."),
        click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours."),
        click.option("--cpus", metavar="N", help="Processors it will use; counted against this host."),
        click.option("--memory", metavar="SIZE", help="Memory it will use: 512M, 8G; enforced where possible."),
        click.option("--gpus", metavar="N", help="GPUs for it alone."),
        click.option("--gpu-memory", metavar="SIZE", help="Memory each GPU must have."),
        click.option("--disk", metavar="SIZE", help="Free space it needs; checked before it starts."),
        click.option("--pod", metavar="NAME", help="Resources by name, from home.toml."),
        click.option("--python", metavar="PATH", help="Interpreter; that of your environment unless given."),
        click.option("--config", multiple=True, metavar="FILE", help="Copy and checksum a configuration file."),
        click.option(
            "--input", "inputs", multiple=True, metavar="NAME=PATH", help="Data it reads: hashed, not copied."
        ),
        click.option("--output", "outputs", multiple=True, metavar="GLOB", help="A file it should leave behind."),
        click.option("--metrics-from", metavar="PATTERN", help="Metrics in its output: json, key=value, a pattern."),
        click.option("--seed", metavar="N", help="Recorded, and LAB_SEED for the script; drawn unless given."),
        click.option("--link", "links", multiple=True, metavar="PATH", help="Keep a place of the source folder live."),
        click.option("--live", is_flag=True, help="Run in your own folder, not in a frozen copy."),
        click.option("--stdin", is_flag=True, help="Keep what comes on standard input, and let it read that."),
        click.option("--hypothesis", metavar="TEXT", help="What you think is true; sealed before it runs."),
        click.option("--context", metavar="TEXT", help="What this builds on."),
        click.option("--intent", metavar="TEXT", help="What you want to learn."),
        click.option("--expect", metavar="TEXT", help="What you expect to see."),
        click.option("--parent", "--parent-run", "parent", metavar="EXPERIMENT", help="The one it follows from."),
        click.option("--group", "--experiment-group", "group", metavar="NAME", help="The group it belongs to."),
        click.option("--tag", "tags", multiple=True, metavar="WORD", help="A word to find it by."),
        click.option("--reuse", is_flag=True, help="If the same was run on the same code before, show that one."),
        click.option("--new", "is_new", is_flag=True, help="Say nothing about earlier ones of the same definition."),
        click.option("--dry-run", is_flag=True, help="Show what would be submitted, and where each value is from."),
        click.option("--validate", is_flag=True, help="Check everything and submit nothing."),
        click.option("--explain", is_flag=True, help="Say in words what would happen."),
        common_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def build(ctx: click.Context, chosen: Mapping[str, Any]) -> Submission:
    """Check everything and build the request.

    Raises:
        RequestError: Something is wrong; nothing was sent.
    """
    cwd = current_directory()
    variables = surroundings.caller_variables()
    home = settings.home_path()
    caller = _caller(ctx, chosen["lab"], cwd, variables, home)
    is_here = caller.elsewhere is None
    here = [settings.variables(), _flags(ctx, chosen)]
    file, notices = list[Layer](), list[str]()
    if chosen["file"] is not None:
        read, notices = _file(chosen["file"], here[-1])
        # paths here count from where they were typed, wherever the file's folder is
        file, here = [read], [layer._replace(description=anchored(layer.description, str(cwd))) for layer in here]
    pods = caller.pods
    project = _project([*file, *here], cwd, never_roots(Path(variables.get("HOME") or "/"), home))
    merged = lay_over([*settings.layers(home if is_here else None, project), *file, *here], pods)

    def place_of(field: str) -> str:
        return merged.origins.get(field, f"`{field}`")

    content = _standard_input() if merged.description.get("stdin") == "spooled" else None
    found = resolve.resolve(merged.description, caller, place_of=place_of, stdin=content)
    request = found.request
    if chosen["reuse"] or chosen["is_new"]:
        if chosen["reuse"] and chosen["is_new"]:
            raise BadValue("--reuse", "--new", "one of the two")
        request["duplicates"] = "reuse" if chosen["reuse"] else "new"
    hint = None
    if not ctx.meta["is_program"]:
        hint = _misplaced(found.target.arguments, ctx.meta["options"], found.target.kind)
    return Submission(request, (*notices, *found.notices), hint, merged)


def _caller(ctx: click.Context, lab: str, cwd: Path, variables: Mapping[str, str], home: Path) -> Caller:
    client = connect(ctx.ensure_object(Output), lab) if chosen_host() is not None else None
    if client is None:
        return Caller(cwd, variables, user_name(), host_name(), home, settings.pods(home), process_settings())
    from labrun.cli.upload import caller_elsewhere  # start-up time: only with another machine in front

    return caller_elsewhere(cast("RemoteClient", client), cwd, home)


def send(output: Output, client: Client, submission: Submission) -> dict[str, Any]:
    """Hand it in; one key for all tries, so it is accepted once at most."""
    request = submission.request
    if client.is_remote:
        from labrun.cli.upload import deliver  # start-up time: only with another machine in front

        request = deliver(output, cast("RemoteClient", client), request, current_directory())
    elif output.is_human and is_somebody_there():
        from labrun.cli.survey import ask_about_links  # start-up time: only with somebody to ask

        ask_about_links(output, client, request)
    try:
        return client.submit(request, os.urandom(16).hex())
    except KeyboardInterrupt:
        output.insist("lab: interrupted; `lab list` shows whether it was accepted before that")
        raise


def only_look(output: Output, submission: Submission, chosen: Mapping[str, Any]) -> bool:
    """Carry out `--validate`, `--dry-run` and `--explain`; whether one was asked for, and nothing is to be sent."""
    if not (chosen["dry_run"] or chosen["validate"] or chosen["explain"]):
        return False
    from labrun.cli import preview  # start-up time: only when nothing is submitted

    preview.show(output, submission, is_table=chosen["dry_run"], is_prose=chosen["explain"])
    return True


def current_directory() -> Path:
    """The caller's directory, without links.

    Raises:
        NotRunnable: It was deleted.
    """
    try:
        return Path.cwd()
    except OSError:
        raise NotRunnable(".", "the current directory is gone", "`cd` to one that exists") from None


_PLAIN = (
    *("name", "note", "priority", "timeout", "grace", "pod", "python", "hypothesis", "context", "intent"),
    *("expect", "parent", "group", "metrics_from"),
)
_OPTIONS = {"config": "--config", "inputs": "--input", "outputs": "--output", "links": "--link", "tags": "--tag"}


def _flags(ctx: click.Context, chosen: Mapping[str, Any]) -> Layer:
    """What the command line says, as a description."""
    found: dict[str, Any] = {field: chosen[field] for field in _PLAIN if chosen[field] is not None}
    words = list(ctx.meta["words"])
    if chosen["module"] is not None:
        found |= {"module": chosen["module"], "args": words}
    elif ctx.meta["is_program"]:
        found["command"] = words
    elif words or chosen["file"] is None:
        found |= {"script": words[0], "args": words[1:]} if words else {}
    resources = {name: chosen[name] for name in RESOURCES if chosen[name] is not None}
    if resources:
        found["resources"] = resources
    if chosen["env"]:
        found["env"] = dict(_variable(text) for text in chosen["env"])
    if chosen["inputs"]:
        found["inputs"] = dict(_named(text) for text in chosen["inputs"])
    found |= {field: list(chosen[field]) for field in ("config", "outputs", "links", "tags") if chosen[field]}
    if chosen["seed"] is not None:
        text = chosen["seed"]
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise BadValue("--seed", text, "a whole number from 0")
        found["seed"] = int(text)
    if chosen["live"]:
        found["live"] = True
    if chosen["stdin"]:
        found["stdin"] = "spooled"
    if ctx.get_parameter_source("lab") is click.core.ParameterSource.COMMANDLINE:
        found["lab"] = chosen["lab"]
    return Layer(found, _option)


def _option(field: str) -> str:
    table, _, name = field.partition(".")
    if table == "resources":
        return f"--{name.replace('_', '-')}"
    if table in ("script", "module", "command", "args"):
        return "the command line"
    return _OPTIONS.get(table, f"--{table.replace('_', '-')}")


def _variable(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or "\0" in text or not is_readable_text(text):
        raise BadValue("--env", text, "KEY=VALUE or KEY, in UTF-8 and without NUL")
    return name, value if equals else None


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise BadValue("--input", text, "NAME=PATH")
    return name, path


def _file(given: str, flags: Layer) -> tuple[Layer, list[str]]:
    from labrun.client import experiment_file  # start-up time: it brings the reader of its format

    has_target = any(field in flags.description for field in ("script", "module", "command"))
    read = experiment_file.read(Path(given), has_target=has_target)
    description = dict(read.description)
    if has_target:  # what is named here is looked for from here
        for field in ("script", "module", "command", "args", "cwd"):
            description.pop(field, None)
    return Layer(description, read.place_of), list(read.notices)


def _project(layers: Sequence[Layer], cwd: Path, forbidden: frozenset[Path]) -> Path | None:
    """The source root whose `lab.toml` counts: that of the script, else that of the folder it runs in."""
    description = {field: value for layer in layers for field, value in layer.description.items()}
    start = Path(cwd, description.get("cwd", "."))
    if "script" in description:
        start = Path(start, description["script"]).parent
    return find_root(start.resolve(), forbidden, Path.exists)


def _standard_input() -> bytes:
    """Everything that comes, up to the limit.

    Raises:
        BadValue: It is a terminal, or closed.
        TooBig: It is more than is kept as evidence.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise BadValue("--stdin", "a terminal", "something piped in, as in `lab run --stdin script.py < data`")
    content = sys.stdin.buffer.read(STDIN_LIMIT_BYTES + 1)
    if len(content) > STDIN_LIMIT_BYTES:
        raise TooBig("standard input", len(content), STDIN_LIMIT_BYTES, "put it into a file: `--input data=FILE`")
    return content


_HINTED = frozenset(
    {"--note", "--priority", "--timeout", "--grace", "--cpus", "--memory", "--gpus", "--gpu-memory", "--pod"}
    | {"--hypothesis", "--dry-run", "--json", "--quiet", "--link", "--parent"}
)
"""Options that scripts seldom have; `--config` or `--seed` behind a script is most likely the script's."""


def _misplaced(arguments: Sequence[str], options: frozenset[str], kind: str) -> str | None:
    for position, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in options and name in _HINTED:
            value = arguments[position + 1 : position + 2]
            shown = word if equals or not value or value[0].startswith("-") else f"{word} {value[0]}"
            return f"`{shown}` went to the {kind}; put lab options before it"
    return None
