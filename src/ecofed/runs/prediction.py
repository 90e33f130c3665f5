"""``predict``: the classes of new images, by a trained network of either kind; PyTorch only for PyTorch's."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config.class_identity import settled
from ecofed.config.network_input import TEST_BATCH, NetworkInput
from ecofed.data.formats.folders import pictures_under
from ecofed.data.pictures import SUFFIXES
from ecofed.data.preparing import picture, tested_input
from ecofed.errors import DataError, MissingExtraError, ModelError, Notice
from ecofed.files.json_values import read_as
from ecofed.files.naming import path_named
from ecofed.onnx import Session
from ecofed.slow_work import counted

ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One image's answer."""

    image: Path
    label: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        return {"image": str(self.image), "label": self.label, "probability": self.probability}


def predict(model: str | Path, images: str | Path | Sequence[str | Path], *, network: Any = None) -> list[Prediction]:
    """The class of each image file, and of each picture in a folder and its sub-folders.

    Args:
        model: a ``.onnx`` file written by ``ecofed export network`` (needs ``ecofed[device]``), or a
            ``model.safetensors`` or the run folder that holds it (needs ``ecofed[train]``).
        images: image files and folders of them, or one of either; larger or much smaller images are scaled to the
            network's input.
        network: the module that was given as ``model`` when it was trained, if that was in another process; a ``.onnx``
            file needs none.

    Warns (``UserWarning``) of the files of a folder that are left out: they are no pictures, or damaged. And where the
    answers depend on which images are asked together: a network that was trained with ``normalisation=batch`` has no
    statistics of its own, and codes of ``codec.name=minmax`` have a scale of their batch.

    Raises:
        DataError: a file is not an image, or there is none. ModelError: not a trained network.
    """
    named = _paths(images)
    if not named:
        raise DataError("no image to predict the class of: give at least one")
    path = path_named(model, "model")
    trained = OnnxNetwork(path) if path.suffix == ONNX_SUFFIX else _torch_network(path, network)
    if trained.by_the_batch:
        warnings.warn(
            "this network's answers depend on the images that are asked together (it was trained with "
            "normalisation=batch, or with a codec whose scales are a batch's, as codec.name=minmax): ask for many "
            "mixed ones at once, or train with normalisation=frozen and another codec",
            Notice,
            stacklevel=2,
        )
    files, pixels = _read_all(named, trained)
    logits_NK = trained(np.stack(pixels))
    if not np.isfinite(logits_NK).all():
        raise ModelError(f"{path}: gives numbers that are not finite; its weights are of no use")
    probabilities_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    probabilities_NK /= probabilities_NK.sum(axis=1, keepdims=True)
    best_N = probabilities_NK.argmax(axis=1).tolist()
    return [
        Prediction(image=file, label=trained.classes[best], probability=float(probabilities_NK[index, best]))
        for index, (file, best) in enumerate(zip(files, best_N, strict=True))
    ]


@dataclass(frozen=True, kw_only=True)
class _Described(NetworkInput):
    """What ``ecofed export network`` writes into an ONNX file."""

    classes: list[str]
    normalisation: str = "frozen"
    scaled_by_batch: bool = False
    """Whether codes between its halves have scales of a batch."""


class OnnxNetwork:
    """A trained network in an ONNX file. Raises :class:`ModelError` for a file that ecofed did not write."""

    def __init__(self, path: Path) -> None:
        self._session = Session.load(path)
        try:
            described: _Described = read_as(_Described, self._session.description())
            described.check()
            settled(described.classes, "'classes'")
        except (ValueError, DataError) as error:
            raise ModelError(f"{path}: not written by 'ecofed export network': its description: {error}") from error
        self._path = path
        self.classes, self.how = described.classes, described
        self.by_the_batch = described.normalisation == "batch" or described.scaled_by_batch

    def __call__(self, images_NHWC: np.ndarray) -> np.ndarray:
        """uint8 images (N, H, W, C) to logits (N, K)."""
        batches = (images_NHWC[at : at + TEST_BATCH] for at in range(0, len(images_NHWC), TEST_BATCH))
        try:
            logits_NK = np.concatenate([self._session(tested_input(images_BHWC, self.how)) for images_BHWC in batches])
        except ModelError as error:
            raise ModelError(f"{self._path}: {error}") from error
        if logits_NK.shape != (len(images_NHWC), len(self.classes)):
            shape = logits_NK.shape
            raise ModelError(f"{self._path}: gives numbers of shape {shape} for {len(self.classes)} classes")
        return logits_NK


class _TorchNetwork:
    def __init__(self, path: Path, given: Any) -> None:
        from ecofed.activations import answers_by_the_batch
        from ecofed.models.given import give_module
        from ecofed.runs.saved_model import load_model

        if given is not None:
            give_module(given)
        self._network = load_model(path)
        self.classes = self._network.classes
        self.how = self._network.task
        self.by_the_batch = answers_by_the_batch(self._network.task.config)

    def __call__(self, images_NHWC: np.ndarray) -> np.ndarray:
        return np.asarray(self._network.logits(images_NHWC).numpy())


def _torch_network(path: Path, given: Any) -> _TorchNetwork:
    try:
        return _TorchNetwork(path, given)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "train", f"{path} (an exported {ONNX_SUFFIX} file needs less)") from None


def _read_all(named: Sequence[Path], network: OnnxNetwork | _TorchNetwork) -> tuple[list[Path], list[np.ndarray]]:
    """The image files, those in folders too, and their pixels. What is named itself must be an image."""
    files: list[Path] = []
    pixels: list[np.ndarray] = []
    too_bright: list[Path] = []

    def read(file: Path) -> None:
        image_HWC, needs = _read_image(file, network.how)
        pixels.append(image_HWC)
        files.append(file)
        if needs > network.how.white:
            too_bright.append(file)

    for path in named:
        if not path.is_dir():
            read(path)
            continue
        pictures, others = pictures_under(path)
        damaged: list[str] = []
        before = len(files)
        for file in counted(pictures, len(pictures), "reading pictures"):
            try:
                read(file)
            except DataError as error:
                damaged.append(str(error))
        told = "; ".join(
            [
                *([f"{_counted(len(others))} no picture ({_some(others)})"] if others else []),
                *([f"{_counted(len(damaged))} damaged ({damaged[0]})"] if damaged else []),
            ]
        )
        if len(files) == before:
            raise DataError(f"{path}: no picture in it{f': {told}' if told else ''}; formats: {', '.join(SUFFIXES)}")
        if told:
            warnings.warn(f"{path}: left out: {told}", Notice, stacklevel=3)
    if too_bright:
        warnings.warn(
            f"{len(too_bright):,} of {len(files):,} pictures hold numbers above {network.how.white:,}, which is white "
            f"for this network ({_some(too_bright)}); they are white there",
            Notice,
            stacklevel=3,
        )
    return files, pixels


def _paths(images: object) -> list[Path]:
    """The files and folders that a caller names."""
    each: list[Any] = [images] if isinstance(images, str | Path) else []
    if not each and isinstance(images, Iterable):
        each = list(images)
    if any(not isinstance(image, str | Path) for image in each) or not isinstance(images, str | Iterable | Path):
        raise DataError(
            f"images: must be files or folders of pictures, not {type(images).__name__}; a network of "
            "ecofed.load_model takes arrays"
        )
    return [path_named(image, "images") for image in each]


def _counted(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"


def _some(files: Sequence[Path]) -> str:
    names = [file.name for file in files[:3]]
    return ", ".join([*names, "..."] if len(files) > len(names) else names)


def _read_image(path: Path, how: NetworkInput) -> tuple[np.ndarray, int]:
    """An image file as :func:`ecofed.data.preparing.picture` has it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: is no regular file, as pictures are (a pipe or a device would be waited for)")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return picture(str(path), data, how)
