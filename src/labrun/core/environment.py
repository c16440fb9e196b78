"""What a command ran in: interpreter, packages, repository, machine. As it was at submit, written beside the order."""

from msgspec import Struct, field

ENVIRONMENT_VERSION = 1


class Python(Struct, frozen=True, omit_defaults=True):
    """The interpreter of the caller's environment, not labrun's own unless it is that one."""

    executable: str
    version: str
    """As `platform.python_version()` says it, such as 3.11.7."""
    implementation: str
    prefix: str
    """Folder of the environment: a virtual environment, a conda environment, or the system."""
    kind: str
    """`virtual environment`, `conda environment` or `system`."""
    platform: str = ""
    is_guess: bool = False
    """The command is a program that does not say which Python it uses, if any: this is the caller's."""


class LockFile(Struct, frozen=True):
    """A file that pins an environment, copied to `submitted/locks/`."""

    path: str
    """Relative to the source root, or absolute."""
    place: str
    """Relative to the experiment's folder."""
    sha256: str


class Repository(Struct, frozen=True, omit_defaults=True):
    """The git repository the code came from."""

    commit: str | None
    """None on a branch without a commit."""
    branch: str | None
    """None when the head is detached."""
    is_dirty: bool
    """Something frozen differs from the commit, staged and untracked files included."""
    remote: str | None = None
    """Where `origin` is, without user name and password."""
    diff: str | None = None
    """Place of the difference to the commit, relative to the experiment's folder."""


class Gpu(Struct, frozen=True):
    """One GPU."""

    index: int
    model: str
    memory_bytes: int
    uuid: str = ""


class Machine(Struct, frozen=True, omit_defaults=True):
    """The computer."""

    host: str
    system: str
    """Name and version of the distribution."""
    kernel: str
    architecture: str
    cpu_model: str
    cpus: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    gpu_driver: str | None = None
    cuda_version: str | None = None
    """The newest CUDA the driver supports."""


class Environment(Struct, frozen=True, omit_defaults=True):
    """`submitted/environment.json`."""

    machine: Machine
    python: Python | None = None
    """None when the command chooses one itself, or is no Python and none is on the caller's PATH."""
    packages: tuple[str, ...] = ()
    """Lines as `pip freeze` prints them for that environment."""
    chosen_by: str | None = None
    """`uv run`, say, when the command chooses its environment as it starts: what is in it is not known at submit."""
    locks: tuple[LockFile, ...] = ()
    repository: Repository | None = None
    variables: dict[str, str] = field(default_factory=dict)
    """Values of the variables on the allow-list; the others are never in a record."""
    version: int = ENVIRONMENT_VERSION
