"""Orders to the worker. Each must bear repetition: after a crash they are issued again."""

from msgspec import Struct


class _Command(Struct, frozen=True, tag=True):
    attempt: int


class Clone(_Command, frozen=True):
    """Bring the frozen code into `work/`."""


class Launch(_Command, frozen=True):
    """Hand the attempt to its engine."""


class Stop(_Command, frozen=True):
    """Stop the attempt and whatever it started; repeat until nothing is left."""


class Check(_Command, frozen=True):
    """List the artifacts, judge what is declared."""


class Seal(_Command, frozen=True):
    """Write the sealed evidence and forget the queue row."""


Command = Clone | Launch | Stop | Check | Seal
