"""A trained network judged again: on the test images of a data set, and what its own run found."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecofed.config.class_identity import positions
from ecofed.config.fields import convert
from ecofed.config.schema import hints_of_keys
from ecofed.config.settings import assignments_of
from ecofed.data import Dataset, load_dataset, mixed_order, partition, require_test
from ecofed.data.partitions import owners_in
from ecofed.data.reading import reading_of
from ecofed.data.stored import part_of
from ecofed.errors import ConfigError, DataError, Notice
from ecofed.methods.loop import add_answers
from ecofed.reports.files import RESULT_FILE, read_result
from ecofed.results.scores import RunScores, Scores, Tally
from ecofed.runs.inputs import TEST_PICTURES, of_images, other_tests
from ecofed.runs.saved_model import TrainedNetwork, load_model

#: Keys that say how data other than the network's own are read.
COLUMNS = ("data.image_column", "data.label_column")
#: What is said of images that are no test images.
HELD_OUT, ON_DEVICES = "samples held out of uploads", "samples that devices held out and tested themselves"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What :func:`evaluate` returns."""

    accuracy: float
    loss: float | None
    """``None`` where there are no test images, and the run's own figures stand for them."""
    samples: int
    data: str
    scores: Scores
    """By class, by how sure the network is, and by device where it is known whose images they are."""
    classes: list[str]
    """The network's, in the order of ``scores``."""
    recorded: RunScores
    """What the run found of its network, where a run's folder was given and its result has it: on its test images, on
    what was held out of uploads, and by the devices themselves."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def of_devices(self) -> dict[str, Scores]:
        """Of ``recorded`` what devices' own samples have shown, by what they are."""
        found = {HELD_OUT: self.recorded.held_out, ON_DEVICES: self.recorded.on_devices}
        return {name: scores for name, scores in found.items() if scores is not None}


def evaluate(model: str | Path, data: str | None = None, settings: Sequence[str] = ()) -> Evaluation:
    """Accuracy of a trained network on the whole test split of a data set (default: the one it was trained on).

    Classes are matched by name, or by original number (:mod:`ecofed.config.class_identity`); a data set may hold some
    of the network's. Of a run's folder what the run found is returned, too; that alone where its data have no test
    images.

    Other data are read by the columns that the network's own were read by, where they have columns at all; ``settings``
    (``key=value``) has other values of :data:`COLUMNS`.

    Raises:
        ConfigError: another setting.
        ModelError: not a trained network. DataError: no such data set, or one of other channels or classes.
        EcoFedError: the folder's result cannot be read.
    """
    network = load_model(model)
    config = network.task.config
    recorded = read_result(model).scores if (Path(model) / RESULT_FILE).exists() else RunScores()
    columns = columns_of(settings)
    own = reading_of(config.data, None)
    own = dataclasses.replace(
        own,
        image_column=columns.get("image_column", own.image_column),
        label_column=columns.get("label_column", own.label_column),
    )
    if data is not None:
        own = dataclasses.replace(own, device_column=None, columns_needed=bool(columns))
    dataset = load_dataset(
        config.data.name if data is None else data,
        fallback=config.data.fallback if data is None else None,
        how=dataclasses.replace(own, white=network.task.white, frame=network.task.frame, test_alone=True),
    )
    judge = recorded.held_out or recorded.on_devices
    if data is None and dataset.test is None and judge is not None:
        return Evaluation(
            accuracy=judge.accuracy or 0.0,
            loss=None,
            samples=judge.samples,
            data=HELD_OUT if recorded.held_out else ON_DEVICES,
            scores=judge,
            classes=network.classes,
            recorded=recorded,
        )
    found = dataclasses.replace(_tested(network, dataset), recorded=recorded)
    if data is None and dataset.test is not None and TEST_PICTURES in network.inputs:
        now = {TEST_PICTURES: of_images(dataset.test.images_NHWC)}
        if other_tests(network.inputs, now):
            warnings.warn(
                f"{dataset.title}: its test pictures are not those of the network's run any more, and some may be "
                "among what it was trained on",
                Notice,
                stacklevel=2,
            )
    return found


def columns_of(settings: Sequence[str]) -> dict[str, str | None]:
    """What ``key=value`` words say of :data:`COLUMNS`, by the names of the fields of ``config.data``."""
    said: dict[str, str | None] = {}
    for path, value in assignments_of(settings, f"{COLUMNS[-1]}=species"):
        key = ".".join(path)
        if key not in COLUMNS:
            raise ConfigError(f"--set {key}: only {' and '.join(COLUMNS)} can be set here")
        said[path[-1]] = convert(key, value, hints_of_keys()[key])
    return said


def _tested(network: TrainedNetwork, dataset: Dataset) -> Evaluation:
    test = require_test(dataset)
    if dataset.channels != network.task.in_channels:
        raise DataError(
            f"{dataset.title} has {dataset.channels} channels; the network was trained for {network.task.in_channels}"
        )
    positions_K = positions(
        dataset.classes,
        network.classes,
        refusal=lambda name: f"{dataset.title} has a class '{name}' that the network does not know",
        own=f"those of {dataset.title}",
        others="its classes",
    )
    # A network that normalises by the batch needs mixed ones, and test sets may be sorted by class.
    order_N = mixed_order(len(test))
    logits_NK = network.logits(part_of(test.images_NHWC, order_N))
    labels_N = torch.from_numpy(positions_K[test.labels_N[order_N]])
    owners_N = _owners(network, dataset)
    tally = Tally(len(network.classes))
    add_answers(tally, logits_NK, labels_N, None if owners_N is None else owners_N[order_N])
    return Evaluation(
        accuracy=float((logits_NK.argmax(dim=1) == labels_N).double().mean()),
        loss=float(torch.nn.functional.cross_entropy(logits_NK, labels_N)),
        samples=len(test),
        data=dataset.title,
        scores=tally.scores(),
        classes=network.classes,
        recorded=RunScores(),
    )


def _owners(network: TrainedNetwork, dataset: Dataset) -> np.ndarray | None:
    """Whose the test images are, where the data say it, by the devices' numbers in the network's run."""
    config, train, test = network.task.config, dataset.train, require_test(dataset)
    if train.device_N is None or test.device_N is None:
        return None
    shares = partition(train.labels_N, config.devices, config.data, config.seed, train.device_N)
    return owners_in(shares, train.device_N, test.device_N)
