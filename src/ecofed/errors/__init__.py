"""The one error tree. Everything a user can cause derives from :class:`EcoFedError`.

::

    EcoFedError                 exit code 1
    ├── ConfigError             exit code 2   an unknown key, an impossible value, a wrong combination
    │   ├── InUseError          exit code 2   a folder that another process writes to
    │   └── PluginError         exit code 2   a plug-in that a run or network needs, and that is not loaded as it was
    ├── MissingExtraError       exit code 2   an optional package is needed; the message names its install command
    ├── DataError               exit code 1   a data set that is missing, unreadable or malformed
    ├── ModelError              exit code 1   weights that do not fit, a cut that is impossible
    ├── WireError               exit code 1   bytes that are not a valid message (hostile until proved otherwise)
    ├── DeviceError             exit code 1   a device that failed, vanished or answered nonsense
    ├── StorageError            exit code 1   a file that cannot be written: full, read-only, no permission
    └── CheckpointError         exit code 1   a run folder that cannot be resumed

A message is one line: what was wrong, where, and what to do about it. Whatever it quotes (a file's name, a device's
reason) is cleaned when the error is made, so that it can go to a terminal, a log or a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ecofed.errors.foreign_text import clean


class EcoFedError(Exception):
    """Base class. ``exit_code`` is what the command line returns for it."""

    exit_code: int = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(clean(message))


class Notice(UserWarning):
    """What a user should know, where no run records it: the command line shows it as ``note: ...``."""


class ConfigError(EcoFedError):
    """A setting is unknown, impossible, or does not fit the others."""

    exit_code = 2


class InUseError(ConfigError):
    """Another process writes to this folder; the message names it."""


class PluginError(ConfigError):
    """A run or a network was made with a plug-in that is not loaded, or not in that version."""


class MissingExtraError(EcoFedError):
    """An optional dependency is missing. The message names the command that installs it."""

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        from ecofed.errors.installation import install_command

        super().__init__(f"{purpose} needs the package '{package}': {install_command(extra)}")


class DataError(EcoFedError):
    """A data set is missing, unreadable or malformed."""


class ModelError(EcoFedError):
    """Weights do not fit a model, or a model cannot be cut where it was asked to be."""


class WireError(EcoFedError):
    """Bytes that crossed (or would cross) the device/server boundary are not a valid message."""


class DeviceError(EcoFedError):
    """A device failed, vanished, or answered something it was not asked for."""


class StorageError(EcoFedError):
    """A file cannot be written; the message names it and says why."""


class CheckpointError(EcoFedError):
    """A run folder cannot be resumed."""


def as_raised(name: str, message: str) -> EcoFedError:
    """An error that was raised in another process, by the name of its class."""
    found = globals().get(name)
    kind = found if isinstance(found, type) and issubclass(found, EcoFedError) else EcoFedError
    error: EcoFedError = kind.__new__(kind)
    EcoFedError.__init__(error, message)  # its own may take other arguments
    return error


#: What others call some of the values that keys have. Letters alone would lead from ``noniid`` to ``iid``, and from
#: ``gpu`` to ``cpu``.
_ELSEWHERE = {"gpu": "cuda", "noniid": "dirichlet", "non-iid": "dirichlet", "non_iid": "dirichlet", "int8": "uniform"}


def nearest(word: str, valid: Iterable[str], elsewhere: Mapping[str, str] = _ELSEWHERE) -> str:
    """Return ``" (did you mean 'x'?)"`` for the valid word that is meant, or an empty string.

    Args:
        word: what was written.
        valid: what there is.
        elsewhere: what a word means that others use for one of these; it counts more than likeness.
    """
    from difflib import get_close_matches

    known, meant = list(valid), elsewhere.get(word.lower())
    close = [meant] if meant in known else get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
