"""EcoFed: federated training of image networks on devices too small to train them.

The names below are the Python API. Those that train need ``ecofed[train]`` and are imported on first use, so that
``import ecofed`` is quick and works without PyTorch.

>>> import ecofed
>>> settings = ecofed.Settings.load("quickstart", ["rounds=5"])
>>> settings.for_method("ecofed").rounds
5
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ecofed._version import __version__
from ecofed.config import Config, Settings
from ecofed.errors import EcoFedError, MissingExtraError
from ecofed.registry import load_plugin, register, register_network

if TYPE_CHECKING:
    from ecofed.data import load_dataset
    from ecofed.models import partition
    from ecofed.reports import load
    from ecofed.runs.experiment import compare, run
    from ecofed.runs.prediction import predict
    from ecofed.runs.saved_model import evaluate, load_model

__all__ = [
    "Config",
    "EcoFedError",
    "Settings",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "load_dataset",
    "load_model",
    "load_plugin",
    "partition",
    "predict",
    "register",
    "register_network",
    "run",
]

_LAZY = {
    "compare": "runs.experiment",
    "evaluate": "runs.saved_model",
    "load": "reports",
    "load_dataset": "data",
    "load_model": "runs.saved_model",
    "partition": "models",
    "predict": "runs.prediction",
    "run": "runs.experiment",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ecofed' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(f"ecofed.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "train", f"ecofed.{name}") from None
