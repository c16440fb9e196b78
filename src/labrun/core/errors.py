"""Every error labrun raises on purpose, one tree, first by fault.

LabError
├── RequestError                    the request is wrong: change it and try again
│   ├── BadValue                    a value is out of its range or form
│   ├── UnknownOption               an option or field nobody knows, with the nearest known one
│   ├── BadDescription              an experiment file or description has errors; all are listed
│   ├── NoSuchScript                the script is not there, or is not something that can be run
│   ├── NotRunnable                 the file exists but cannot be run as asked
│   ├── NotFound                    no experiment answers to this reference
│   ├── NoSuchMetric                the attempt measured nothing of this name
│   ├── AmbiguousReference          several do; they are listed
│   ├── AmbiguousArguments          two command lines can be merged in more than one way
│   ├── BadStaging                  a file to stage, or its placeholder, does not fit
│   ├── NotAllowedNow               the experiment's status does not allow this action
│   ├── TooBig                      the source folder or a value is over its limit
│   ├── TooManyFiles                the source folder has more files than code has
│   ├── NothingFrozen               the experiment has no frozen code
│   ├── ImpossibleRequest           no machine here could ever satisfy the resources asked for
│   └── KeyReused                   an idempotency key came back with another request
├── WorldError                      the machine or a service failed us: the request was fine
│   ├── HomeUnusable                the home is not ours, read-only, on NFS, of a newer format
│   ├── HomeBusy                    another server owns this home
│   ├── QueueMissing                an initialised home lost its queue
│   ├── ServerUnreachable           no server answered, and none could be started
│   ├── HostUnreachable             the other machine does not answer, or lets nobody in
│   ├── HostWithoutLab              the other machine has no labrun, or one that cannot be talked to
│   ├── ServerStopping              the server is about to leave; ask again in a moment
│   ├── DiskFull                    no space or no inodes left for the home
│   ├── StoreDamaged                a file of the home is torn or altered
│   ├── CodeUnreadable              a source file vanished or changed while it was read
│   └── EngineFailed                an engine could not launch or stop an attempt
└── InternalError                   a bug of ours; the only one shown with a traceback
    └── IllegalTransition           an event that cannot follow this state
"""
# Long because every error of the project stands in this one tree.

from collections.abc import Iterable, Sequence


class LabError(Exception):
    """Something labrun can explain. Subclasses build message and hint from typed arguments."""

    code = "error"
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None, details: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class RequestError(LabError):
    """The request is wrong; nothing was changed."""

    code = "bad_request"


class WorldError(LabError):
    """The request was fine; the machine or a service failed."""

    code = "world_failed"


class InternalError(LabError):
    """A bug in labrun."""

    code = "internal"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word somebody probably meant."""
    import difflib  # start-up time: only when somebody mistyped

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


class BadValue(RequestError):
    """A value is out of its range or form."""

    code = "bad_value"

    def __init__(self, what: str, value: object, expected: str, *, hint: str | None = None) -> None:
        """Build it.

        Args:
            what: Which value: an option, a field.
            value: As it was given.
            expected: What it should have been; the message says it, so it needs no hint that says it again.
            hint: What to do instead, where that is more than to give what is expected.
        """
        shown = repr(value)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        super().__init__(f"{what} {shown} is not {expected}", hint=hint)


class UnknownOption(RequestError):
    """Nobody knows this option, field or setting."""

    code = "unknown_option"

    def __init__(self, option: str, known: Iterable[str], where: str) -> None:
        guess = nearest(option, known)
        super().__init__(
            f"unknown option `{option}` of {where}",
            hint=f"did you mean `{guess}`?" if guess else f"`{where} --help` lists what there is",
        )


class BadDescription(RequestError):
    """A description of an experiment has errors; all of them are listed."""

    code = "bad_description"
    shown = 50
    """So many errors are listed; a file with more is not an experiment file."""

    def __init__(self, where: str, errors: Sequence[tuple[str, str]], hint: str) -> None:
        """Build it.

        Args:
            where: The experiment file, or `the body`.
            errors: Place and text of each, in order; at least one.
            hint: What to do next.
        """
        count = f"{len(errors)} errors" if len(errors) > 1 else "an error"
        more = f", the first {self.shown} are listed" if len(errors) > self.shown else ""
        details = [{"at": at, "message": text} for at, text in errors[: self.shown]]
        super().__init__(f"{where} has {count}{more}; nothing was submitted", hint=hint, details=details)


class NoSuchScript(RequestError):
    """The script or program is not there."""

    code = "no_such_script"

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(f"cannot run `{path}`: {why}", hint=hint)


class NotRunnable(RequestError):
    """The file exists but cannot be run as asked."""

    code = "not_runnable"

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(f"cannot run `{path}`: {why}", hint=hint)


class NotFound(RequestError):
    """No experiment answers to this reference."""

    code = "not_found"

    def __init__(self, reference: str, lab: str) -> None:
        super().__init__(
            f"no experiment `{reference}` in lab `{lab}`",
            hint="`lab list` shows what there is; a label, a unique prefix, a name, a path or `latest` will do",
        )


class NoSuchMetric(RequestError):
    """The attempt measured nothing of this name."""

    code = "no_such_metric"

    def __init__(self, name: str, label: str, known: Sequence[str]) -> None:
        guess = nearest(name, known)
        listed = f"it has {', '.join(known[:10])}{' …' if len(known) > 10 else ''}" if known else "it measured nothing"
        super().__init__(f"{label} has no metric `{name}`", hint=f"did you mean `{guess}`?" if guess else listed)


class AmbiguousReference(RequestError):
    """Several experiments answer to this reference."""

    code = "ambiguous_reference"

    def __init__(self, reference: str, matches: Sequence[str]) -> None:
        shown = ", ".join(matches[:8]) + (f" and {len(matches) - 8} more" if len(matches) > 8 else "")
        super().__init__(
            f"`{reference}` fits {len(matches)} experiments: {shown}",
            hint="use a label",
            details=list(matches),
        )


class AmbiguousArguments(RequestError):
    """Two command lines can be merged in more than one way."""

    code = "ambiguous_arguments"

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(f"arguments cannot be merged: {why}", hint=hint)


class BadStaging(RequestError):
    """A file to stage cannot be used, or a placeholder has no file."""

    code = "bad_staging"

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(f"cannot stage: {why}", hint=hint)


class NotAllowedNow(RequestError):
    """The experiment's status does not allow this action."""

    code = "not_allowed_now"

    def __init__(self, action: str, label: str, status: str, allowed: str) -> None:
        super().__init__(f"cannot {action} {label}: it is {status}", hint=f"{action} works while it is {allowed}")


class TooBig(RequestError):
    """Something is over its limit."""

    code = "too_big"

    def __init__(self, what: str, size_bytes: int, limit_bytes: int, hint: str, details: object = None) -> None:
        super().__init__(f"{what} is {size_bytes:,} bytes, the limit is {limit_bytes:,}", hint=hint, details=details)


class TooManyFiles(RequestError):
    """The source folder has more files than code has."""

    code = "too_many_files"

    def __init__(
        self, root: str, count: int, limit: int, fullest: Sequence[tuple[str, int]], *, is_whole: bool = True
    ) -> None:
        """Build it.

        Args:
            root: The source folder.
            count: How many were counted.
            limit: How many it may have.
            fullest: Folders below it that hold most, with how many.
            is_whole: All were counted.
        """
        folders = ", ".join(f"{folder} ({number:,})" for folder, number in fullest) or "itself"
        ignored = f"`/{fullest[0][0]}/`" if fullest else "`*.csv`"
        super().__init__(
            f"source folder `{root}` has {'' if is_whole else 'at least '}{count:,} files, the limit is {limit:,}",
            hint=f"the fullest folders are {folders}; a line such as {ignored} in .labignore leaves one out",
            details=[{"path": folder, "files": number} for folder, number in fullest],
        )
        self.fullest = tuple(fullest)


class NothingFrozen(RequestError):
    """The experiment has no frozen code."""

    code = "nothing_frozen"

    def __init__(self, label: str) -> None:
        super().__init__(
            f"{label} has no frozen code: it was submitted without a source folder",
            hint=f"`lab info {label}` shows what it ran and where",
        )


class ImpossibleRequest(RequestError):
    """No machine of this home could ever satisfy the request."""

    code = "impossible_request"

    def __init__(self, resource: str, asked: str, there_is: str) -> None:
        super().__init__(
            f"asked for {asked} {resource}, this host has {there_is}",
            hint="ask for less, or queue it where there is more: `lab --host ADDRESS queue …`",
        )


class KeyReused(RequestError):
    """An idempotency key came back with another request."""

    code = "key_reused"

    def __init__(self, key: str, label: str) -> None:
        super().__init__(
            f"idempotency key `{key}` already made {label} from another request",
            hint="use a fresh key for each request",
        )


class HomeUnusable(WorldError):
    """The home directory cannot be used."""

    code = "home_unusable"

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(f"cannot use `{path}` as home: {why}", hint=hint)


class HomeBusy(WorldError):
    """Another server owns this home."""

    code = "home_busy"

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(
            f"home `{path}` is owned by another server ({owner})",
            hint="talk to that one, or stop it with `lab server stop`",
        )


class QueueMissing(WorldError):
    """An initialised home lost its queue."""

    code = "queue_missing"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"`{path}` is gone: whatever waited or ran in it is not known any more",
            hint="restore it, or accept the loss with `lab serve --new-queue`; finished experiments are untouched",
        )


class ServerUnreachable(WorldError):
    """No server answered, and none could be started."""

    code = "server_unreachable"
    retryable = True

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"no server at {address}: {why}", hint="`lab serve` starts one in the foreground and shows why it fails"
        )


class HostUnreachable(WorldError):
    """The other machine does not answer, or lets nobody in."""

    code = "host_unreachable"
    retryable = True

    def __init__(self, host: str, why: str, hint: str | None = None) -> None:
        super().__init__(f"`{host}` cannot be reached: {why}", hint=hint or f"try `ssh {host}` by hand")


class HostWithoutLab(WorldError):
    """The other machine has no labrun, or one that cannot be talked to."""

    code = "host_without_lab"

    def __init__(self, host: str, why: str, hint: str) -> None:
        super().__init__(f"no lab answers on `{host}`: {why}", hint=hint)


class ServerStopping(WorldError):
    """The server is about to leave."""

    code = "server_stopping"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the server is stopping", hint="ask again; a new one starts by itself")


class DiskFull(WorldError):
    """No space left for the home."""

    code = "disk_full"
    retryable = True

    def __init__(self, path: str, doing: str) -> None:
        super().__init__(
            f"no space left at `{path}` while {doing}",
            hint="free some space and try again; nothing that was accepted is lost",
        )


class StoreDamaged(WorldError):
    """A file of the home is torn or altered."""

    code = "store_damaged"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"`{path}` is damaged: {why}", hint="`lab doctor` says what can be rebuilt")


class CodeUnreadable(WorldError):
    """A source file could not be read as it was listed."""

    code = "code_unreadable"
    retryable = True

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"cannot freeze `{path}`: {why}", hint="try again when nothing writes there, or ignore the file"
        )


class EngineFailed(WorldError):
    """An engine could not launch or stop an attempt."""

    code = "engine_failed"

    def __init__(self, engine: str, doing: str, why: str) -> None:
        super().__init__(
            f"engine `{engine}` failed at {doing}: {why}", hint="`lab doctor` checks what the engine needs"
        )


class IllegalTransition(InternalError):
    """An event that cannot follow this state."""

    code = "illegal_transition"

    def __init__(self, state: object, event: object) -> None:
        super().__init__(f"{type(event).__name__} cannot follow {type(state).__name__}: {state!r} + {event!r}")


def error_classes() -> dict[str, type[LabError]]:
    """Map each stable code to its class; the client raises what the server raised."""
    found: dict[str, type[LabError]] = {}
    pending: list[type[LabError]] = [LabError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found


def revive(code: str, message: str, hint: str | None, details: object = None) -> LabError:
    """Rebuild an error that crossed the API as the class that was raised."""
    cls = error_classes().get(code, LabError)
    error = cls.__new__(cls)
    LabError.__init__(error, message, hint=hint, details=details)
    error.code = code  # one that a newer server knows and we do not keeps its name
    return error
