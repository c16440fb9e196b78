"""From a command line to a `Submit`: options of `run` and `queue`, checked before anything is sent."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from labrun import settings
from labrun.cli import surroundings
from labrun.cli.options import common_options
from labrun.cli.output import Output
from labrun.cli.placement import never_roots, place
from labrun.cli.target import check_size, recognise
from labrun.client.api import Client
from labrun.core.errors import BadValue, NotRunnable
from labrun.core.units import parse_duration, parse_size

NAME_LIMIT = 200
_PRIORITIES = range(1, 11)


class Submission(NamedTuple):
    """What is sent, and what is said about it."""

    request: dict[str, Any]
    notices: tuple[str, ...]
    hint: str | None
    """When an option of ours was found among the script's arguments."""


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
        click.option("--name", metavar="TEXT", help="A name to find it by; need not be unique."),
        click.option("--note", metavar="TEXT", help="Why you run it; kept with the record."),
        click.option("--priority", metavar="1-10|WORD", help="1 whenever, 10 first; low, normal, high, critical."),
        click.option("--timeout", metavar="TIME", help="Stop it after 90s, 15m, 4h, 1h30m …"),
        click.option("--grace", metavar="TIME", help="Between the polite signal and the kill; 10s unless given."),
        click.option("--env", multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass one of yours."),
        click.option("--cpus", metavar="N", help="Processors it will use; counted against this host."),
        click.option("--memory", metavar="SIZE", help="Memory it will use: 512M, 8G; enforced where possible."),
        click.option("--gpus", metavar="N", help="GPUs for it alone."),
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
    caller = surroundings.caller_variables()
    cwd = current_directory()
    variables, left_out = surroundings.variables_to_send(caller, chosen["env"])
    target = recognise(
        ctx.meta["words"],
        module=chosen["module"],
        is_program=ctx.meta["is_program"],
        cwd=cwd,
        caller=caller,
        path=variables.get("PATH"),
    )
    forbidden = never_roots(Path(caller.get("HOME") or "/"), settings.home_path())
    placement = place(target, cwd, forbidden)
    argv = [placement.word, *target.arguments]
    if target.python is not None:
        argv = [str(target.python), *(["-m"] if target.kind == "module" else []), *argv]
    check_size(argv, variables)
    spec: dict[str, Any] = {
        "target": {"kind": target.kind, "name": target.name, "argv": argv},
        "lab": chosen["lab"],
        "source": _source(placement.root, placement.only, placement.cwd, is_live=placement.is_live),
        "surroundings": surroundings.process_settings(),
        "resources": _resources(chosen),
        "user": surroundings.user_name(),
        "host": surroundings.host_name(),
        **_described(chosen),
    }
    if target.python is not None:
        spec["interpreter"] = str(target.python)
    notices = placement.notices
    if left_out:
        notices = (*notices, f"not passed on, not UTF-8: {', '.join(left_out)}")
    hint = None if ctx.meta["is_program"] else _misplaced(target.arguments, ctx.meta["options"], target.kind)
    return Submission({"spec": spec, "variables": variables}, notices, hint)


def send(output: Output, client: Client, submission: Submission) -> dict[str, Any]:
    """Hand it in; one key for all tries, so it is accepted once at most."""
    try:
        return client.submit(submission.request, os.urandom(16).hex())
    except KeyboardInterrupt:
        output.insist("lab: interrupted; `lab list` shows whether it was accepted before that")
        raise


def current_directory() -> Path:
    """The caller's directory, without links.

    Raises:
        NotRunnable: It was deleted.
    """
    try:
        return Path.cwd()
    except OSError:
        raise NotRunnable(".", "the current directory is gone", "`cd` to one that exists") from None


def _source(root: Path | None, only: tuple[str, ...], cwd: str, *, is_live: bool) -> dict[str, Any]:
    source: dict[str, Any] = {"cwd": cwd, "cwd_is_live": is_live}
    if root is not None:
        source["root"] = str(root)
        if only:
            source["only"] = only
    for text in (str(root), cwd):
        if not surroundings.is_readable_text(text):
            raise BadValue("folder", text, "a path in UTF-8 (records are text; rename the folder)")
    return source


def _described(chosen: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ("name", "note"):
        text = chosen[key]
        if text is None:
            continue
        if "\0" in text or not surroundings.is_readable_text(text):
            raise BadValue(f"--{key}", text, "text in UTF-8 without NUL")
        found[key] = text
    if "name" in found and not 1 <= len(found["name"]) <= NAME_LIMIT:
        raise BadValue("--name", found["name"], f"1 to {NAME_LIMIT} characters")
    if chosen["priority"] is not None:
        found["priority"] = _priority(chosen["priority"])
    for key, option in (("timeout_s", "timeout"), ("grace_s", "grace")):
        if chosen[option] is not None:
            found[key] = parse_duration(chosen[option])
    if found.get("timeout_s") == 0:
        raise BadValue("--timeout", chosen["timeout"], "more than zero")
    return found


def _priority(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) in _PRIORITIES:
        return int(text)
    from labrun.core.spec import PRIORITY_WORDS  # start-up time: only when a word was given

    if text.lower() not in PRIORITY_WORDS:
        raise BadValue("--priority", text, f"1 to 10, or {', '.join(PRIORITY_WORDS)}")
    return PRIORITY_WORDS[text.lower()]


def _resources(chosen: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, option, least in (("cpus", "cpus", 1), ("gpu_count", "gpus", 0)):
        text = chosen[option]
        if text is None:
            continue
        if not (text.isascii() and text.isdigit() and least <= int(text[:9]) and len(text) <= 6):
            raise BadValue(f"--{option}", text, f"a whole number from {least}")
        found[key] = int(text)
    if chosen["memory"] is not None:
        found["memory_bytes"] = parse_size(chosen["memory"])
    return found


def _misplaced(arguments: Sequence[str], options: frozenset[str], kind: str) -> str | None:
    for position, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in options and name != "--help":
            value = arguments[position + 1 : position + 2]
            shown = word if equals or not value or value[0].startswith("-") else f"{word} {value[0]}"
            return f"`{shown}` went to the {kind}; put lab options before it"
    return None
