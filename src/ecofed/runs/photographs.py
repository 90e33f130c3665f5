"""Test images with the answers of trained networks, for a report to show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ecofed.config.class_identity import positions
from ecofed.data import Dataset, load_dataset, mixed_order, require_test
from ecofed.data.reading import Reading
from ecofed.data.stored import part_of
from ecofed.errors import DataError
from ecofed.reports.photographs import MOST_SHOWN, Answer, Photograph
from ecofed.runs.saved_model import TrainedNetwork, load_model

#: Pixels of the longer side on the page.
_SIDE = 128
#: A network that normalises by the batch is asked about as many together as it was tested with.
_ASKED = 100


def photographs(networks: Sequence[tuple[str, Path]], count: int) -> list[Photograph]:
    """The first ``count`` test images of the data that the networks were trained on.

    Args:
        networks: what each is called, and its ``model.safetensors`` or run folder.
        count: at most :data:`~ecofed.reports.photographs.MOST_SHOWN`.

    Raises:
        ModelError: not a trained network. DataError: its data are not here, have no test images, or are not the
            others' data.
    """
    loaded = [(label, load_model(path)) for label, path in networks]
    names = {network.task.config.data.name for _, network in loaded}
    if len(names) > 1:
        raise DataError(f"the runs are about different data ({', '.join(sorted(names))}); show images of one of them")
    pictures: list[bytes] = []
    truths: list[str] = []
    answers: list[list[Answer]] = []
    for label, network in loaded:
        dataset = _dataset(network)
        test = require_test(dataset)
        asked_N = mixed_order(len(test))[: max(_ASKED, count)]
        images_NHWC = np.asarray(part_of(test.images_NHWC, asked_N)[:])
        own_K = positions(
            dataset.classes,
            network.classes,
            refusal=lambda name: f"the data have a class '{name}' that the network does not know",
            own="those of the data",
            others="its classes",
        )
        if not pictures:
            pictures = [_png(image_HWC) for image_HWC in images_NHWC[: min(count, MOST_SHOWN)]]
            truths = [dataset.classes[at] for at in test.labels_N[asked_N][: len(pictures)].tolist()]
            answers = [[] for _ in pictures]
        logits_NK = network.logits(images_NHWC)
        sure_N, said_N = logits_NK.softmax(dim=1).max(dim=1)
        truth_N = own_K[test.labels_N[asked_N]]
        for at, given in enumerate(answers):
            said = int(said_N[at])
            given.append(
                Answer(
                    label=label,
                    said=network.classes[said],
                    probability=float(sure_N[at]),
                    right=said == int(truth_N[at]),
                )
            )
    return [
        Photograph(png=png, truth=truth, answers=given)
        for png, truth, given in zip(pictures, truths, answers, strict=True)
    ]


def _dataset(network: TrainedNetwork) -> Dataset:
    config = network.task.config
    how = Reading(white=network.task.white, frame=network.task.frame, device_column=None, test_alone=True)
    return load_dataset(config.data.name, fallback=config.data.fallback, how=how)


def _png(image_HWC: np.ndarray) -> bytes:
    image = Image.fromarray(image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
