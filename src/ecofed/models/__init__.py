"""Networks, normalisation modes, keyed initialisation, and cutting a network in two."""

from ecofed.models.arrays import WeightedAverage, load_arrays, parameter_arrays, state_arrays
from ecofed.models.bottleneck import Bottleneck, Expansion, add_bottleneck, add_expansion
from ecofed.models.fronts import (
    AuxiliaryClassifier,
    build_front,
    build_middle,
    compact,
    empty_front,
    front_by_bytes,
    with_precision,
)
from ecofed.models.initialisation import initialise
from ecofed.models.normalisation import (
    BatchNorm2d,
    FrozenBatchNorm2d,
    Normalisation,
    RunningBatchNorm2d,
    calibrate,
    set_normalisation,
)
from ecofed.models.outputs import activation_shape
from ecofed.models.partition import Partition, partition, possible_cuts
from ecofed.models.precision import Precision, native_precision, set_precision
from ecofed.models.registry import MODELS, build_model, default_cut, model_names

__all__ = [
    "MODELS",
    "AuxiliaryClassifier",
    "BatchNorm2d",
    "Bottleneck",
    "Expansion",
    "FrozenBatchNorm2d",
    "Normalisation",
    "Partition",
    "Precision",
    "RunningBatchNorm2d",
    "WeightedAverage",
    "activation_shape",
    "add_bottleneck",
    "add_expansion",
    "build_front",
    "build_middle",
    "build_model",
    "calibrate",
    "compact",
    "default_cut",
    "empty_front",
    "front_by_bytes",
    "initialise",
    "load_arrays",
    "model_names",
    "native_precision",
    "parameter_arrays",
    "partition",
    "possible_cuts",
    "set_normalisation",
    "set_precision",
    "state_arrays",
    "with_precision",
]
