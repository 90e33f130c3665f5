"""EcoFed: federated training of image networks on devices too small to train them.

The names below are the Python API. All but the errors are imported on first use, so that ``import ecofed`` is quick;
those that train need ``ecofed[train]``.

>>> import ecofed
>>> settings = ecofed.Settings.load("quickstart", ["rounds=5"])
>>> settings.for_method("ecofed").rounds
5
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ecofed._version import __version__
from ecofed.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    EcoFedError,
    InUseError,
    MissingExtraError,
    ModelError,
    Notice,
    PluginError,
    StorageError,
    WireError,
)

if TYPE_CHECKING:
    from ecofed.api import compare, evaluate, load_model, plan, retrain, run
    from ecofed.config import Config, Settings
    from ecofed.config.registry import load_plugin, register, register_codec, register_format, register_network
    from ecofed.data import Dataset, load_dataset
    from ecofed.models import partition
    from ecofed.relearning.forgetting import forget
    from ecofed.relearning.tuning import tune
    from ecofed.relearning.updating import update
    from ecofed.reports.joining import load
    from ecofed.results import Comparison, RunResult
    from ecofed.runs.observing import Observer, SilentObserver
    from ecofed.runs.prediction import predict
    from ecofed.runs.tracking import tracked

__all__ = [
    "CheckpointError",
    "Comparison",
    "Config",
    "ConfigError",
    "DataError",
    "Dataset",
    "DeviceError",
    "EcoFedError",
    "InUseError",
    "MissingExtraError",
    "ModelError",
    "Notice",
    "Observer",
    "PluginError",
    "RunResult",
    "Settings",
    "SilentObserver",
    "StorageError",
    "WireError",
    "__version__",
    "compare",
    "evaluate",
    "forget",
    "load",
    "load_dataset",
    "load_model",
    "load_plugin",
    "partition",
    "plan",
    "predict",
    "register",
    "register_codec",
    "register_format",
    "register_network",
    "retrain",
    "run",
    "tracked",
    "tune",
    "update",
]

_LAZY = {
    "Comparison": "results",
    "Config": "config",
    "Dataset": "data",
    "Observer": "runs.observing",
    "RunResult": "results",
    "Settings": "config",
    "SilentObserver": "runs.observing",
    "compare": "api",
    "evaluate": "api",
    "forget": "relearning.forgetting",
    "load": "reports.joining",
    "load_dataset": "data",
    "load_model": "api",
    "load_plugin": "config.registry",
    "partition": "models",
    "plan": "api",
    "predict": "runs.prediction",
    "register": "config.registry",
    "register_codec": "config.registry",
    "register_format": "config.registry",
    "register_network": "config.registry",
    "retrain": "api",
    "run": "api",
    "tracked": "runs.tracking",
    "tune": "relearning.tuning",
    "update": "relearning.updating",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ecofed' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(f"ecofed.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        extra = {"torch": "train", "optuna": "tune"}.get(str(error.name))
        if extra is None:
            raise
        raise MissingExtraError(str(error.name), extra, f"ecofed.{name}") from None
