"""A front out of somebody's whole checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ecofed.config.problem import ModelConfig
from ecofed.errors import ModelError, nearest
from ecofed.files.reading import check_regular
from ecofed.models import default_cut, initialise, load_arrays, partition
from ecofed.models.registry import build_model
from ecofed.pretraining.bundling import make_bundle
from ecofed.pretraining.public_images import PublicImages
from ecofed.wire import FrontBundle

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which trainers keep the weights inside a checkpoint."""
_PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers (data parallelism, compilation, trainers) put before every name."""


def front_from_checkpoint(path: Path, config: ModelConfig, images: PublicImages) -> FrontBundle:
    """The front of a network that was trained elsewhere, packed.

    The checkpoint (safetensors, or PyTorch's own format read with ``weights_only``) must name its layers as
    ``config``'s network does; what belongs to the back is ignored. Inputs must have been normalised with the mean and
    deviation of ``images``, which also set statistics and quantiser limits.

    Raises:
        ModelError: not a checkpoint, or the front's layers are missing or of another shape.
    """
    arrays = read_checkpoint(path)
    in_channels = int(images.images_NHWC.shape[3])
    model = build_model(config, in_channels=in_channels, classes=2, normalisation="frozen")
    front = partition(model, config.cut or default_cut(config.name)).front
    initialise(front, 0)
    wanted = front.state_dict()
    missing = [name for name, _ in front.named_parameters() if name not in arrays]
    if missing:
        raise ModelError(
            f"{path} has no '{missing[0]}'{nearest(missing[0], arrays)}: it is not a {config.name}, or names its "
            f"layers otherwise; the front needs {', '.join(wanted)}"
        )
    try:
        load_arrays(front, {name: array for name, array in arrays.items() if name in wanted})
    except ModelError as error:
        raise ModelError(f"{path}: {error} (width {config.width:g}, {in_channels} channels)") from error
    return make_bundle(
        front,
        config=config,
        in_channels=in_channels,
        public_NHWC=images.images_NHWC[:: max(1, len(images.labels_N) // 4000)],
        mean=images.mean,
        std=images.std,
        card={"origin": f"checkpoint {path.name}", "images": f"statistics from {images.title}"},
    )


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Weights by name, float32, without the prefixes that wrappers add.

    Raises:
        ModelError: the file is missing, is no checkpoint, or holds more than plain tensors.
    """
    try:
        check_regular(path)
        arrays = dict(load_file(path)) if path.suffix == ".safetensors" else _read_torch(path)
        return {_plain(name): np.asarray(array, np.float32) for name, array in arrays.items()}
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ModelError:
        raise
    # Element types that numpy lacks and sizes that no machine has each raise an error of their own.
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        raise ModelError(f"{path}: not a safetensors file that can be read ({error})") from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # PyTorch raises many kinds, with pages of advice that does not apply here
        raise ModelError(
            f"{path}: not a PyTorch checkpoint of plain tensors ({type(error).__name__}); save the state_dict alone"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a state_dict")
    return {
        str(name): value.float().numpy()
        for name, value in content.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _plain(name: str) -> str:
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name, stripped = name.removeprefix(prefix), True
    return name
