"""What is attacked: a configuration, or a run that was trained with one; and whose images are whose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from ecofed.auditing.summed import Space, SummedFront, one_of_each, single_sums, uploads_sums, worked_out
from ecofed.auditing.uploads import MOST_OF_A_DEVICE, Uploaded, joined, uploads_of
from ecofed.config import Config, Settings
from ecofed.config.privacy import PrivacyConfig
from ecofed.data import mixed_order
from ecofed.data.decoded import NoTrainingImagesError
from ecofed.data.stored import ImageRows, part_of
from ecofed.devices.account import Account
from ecofed.devices.local_data import LocalData
from ecofed.devices.local_images import by_content
from ecofed.errors import ConfigError
from ecofed.files.ownership import refuse_if_owned
from ecofed.models import build_front, load_arrays, state_arrays
from ecofed.pretraining.public_images import FRACTALS, load_pictures
from ecofed.reports.files import RESULT_FILE, SUMMARY_FILE, read_result
from ecofed.results import RunResult
from ecofed.runs.kept_buffer import holds_buffer, open_buffer
from ecofed.runs.natural import settled
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runs.run_folder import MODEL_FILE
from ecofed.runs.saved_model import load_model
from ecofed.slow_work import counted

#: Devices whose uploads are attacked, evenly spaced among all.
ATTACKED_DEVICES = 8
#: The attacker's own devices are numbered from here, so that no draw of theirs is one of the run's.
OWN_DEVICES = 1 << 30
#: Of public images no attack is made with fewer.
LEAST_PUBLIC = 2
#: "All public images" are at most so many.
MOST_PUBLIC = 10_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """See the module."""

    configuration: str
    config: Config
    run: Path | None
    result: RunResult | None
    prepared: Prepared

    @property
    def attacked_devices(self) -> list[int]:
        """Some that have images, evenly spaced among all."""
        filled = [device for device, share in enumerate(self.prepared.parts) if len(share)]
        return sorted({filled[at] for at in np.linspace(0, len(filled) - 1, ATTACKED_DEVICES).round().astype(int)})

    def attacked(self, count: int) -> Uploaded:
        """The first images that some devices upload in the run: as many of each, ``count`` in all."""
        train, devices = self.prepared.dataset.train, self.attacked_devices
        parts: list[Uploaded] = []
        for number, device in enumerate(counted(devices, len(devices), "asking devices for their uploads")):
            own = self.prepared.shares[device][:MOST_OF_A_DEVICE]
            wanted = -(-(count - sum(map(len, parts))) // (len(devices) - number))
            if uploads_sums(self.config.method):
                own = own[np.concatenate(one_of_each(train.labels_N[own]))[:wanted]]
            uploaded = self._uploads(device, part_of(train.images_NHWC, own), train.labels_N[own])
            parts.append(uploaded.part(np.arange(min(wanted, len(uploaded)))))
        return joined(parts)

    def samples_of(self, device: int) -> np.ndarray:
        """Which of the training images the samples are that a device may upload, in the order of their numbers."""
        own: np.ndarray = self.prepared.parts[device]
        if self.config.privacy.labels == "counts":
            own = own[by_content(part_of(self.prepared.dataset.train.images_NHWC, own))]
        return own

    def alike(self) -> tuple[ImageRows, np.ndarray, str]:
        """Public images like the devices' own, and their labels, in a fixed mixed order: the data set's test images.

        Raises:
            ConfigError: it has none, or too few to learn from.
        """
        dataset = self.prepared.dataset
        if dataset.test is None:
            raise ConfigError(
                f"{dataset.title} has no test images, which stand for public ones like the devices'; add test/ or "
                "test.parquet"
            )
        if len(dataset.test) < LEAST_PUBLIC:
            raise ConfigError(
                f"{dataset.title} has {len(dataset.test)} test image, and an attacker learns from {LEAST_PUBLIC} or "
                "more: one to fit a decoder, one to judge it; add some to test/ or test.parquet"
            )
        chosen_N = mixed_order(len(dataset.test))[:MOST_PUBLIC]
        return part_of(dataset.test.images_NHWC, chosen_N), dataset.test.labels_N[chosen_N], dataset.title

    def owners(self) -> np.ndarray | None:
        """Of the images of :meth:`alike` whose they would be: the run's device, -1 where that is not one of them.
        ``None``: the data do not say it, or it was not asked for (``data.device_column``)."""
        test = self.prepared.dataset.test
        if test is None or test.device_N is None:
            return None
        owners_N: np.ndarray = test.device_N[mixed_order(len(test))[:MOST_PUBLIC]]
        return owners_N

    def other(self, source: str, count: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Public images of another source, and labels that mean nothing."""
        task = self.prepared.task
        found = load_pictures(source, channels=task.in_channels, side=task.input_size, limit=count)
        title = "rendered fractals" if source == FRACTALS else found.title.partition(" pictures of ")[2]
        return found.images_NHWC, np.zeros(len(found.images_NHWC), np.int64), title

    def pairs(self, images_NHWC: ImageRows, labels_N: np.ndarray, what: str) -> Uploaded:
        """What the attacker's own devices would upload of these images; ``samples_N`` counts through all of them."""
        starts = range(0, len(labels_N), MOST_OF_A_DEVICE)
        parts = []
        for number, start in enumerate(counted(starts, len(starts), what)):
            own = np.arange(start, min(start + MOST_OF_A_DEVICE, len(labels_N)))
            device, images_BHWC = OWN_DEVICES + number, part_of(images_NHWC, own)
            if isinstance(self.front, SummedFront):
                data = self.local(device, images_BHWC, labels_N[own])
                uploaded = worked_out(self.prepared, self.front, data, self.config.seed)
            else:
                uploaded = self._uploads(device, images_BHWC, labels_N[own])
            parts.append(dataclasses.replace(uploaded, samples_N=own[uploaded.samples_N]))
        return joined(parts)

    def local(self, device: int, images_NHWC: ImageRows, labels_N: np.ndarray) -> LocalData:
        """A device that has these images, as simulated ones are: its noise follows from the seed, too."""
        task = self.prepared.task
        return LocalData(task, device, images_NHWC, labels_N, account=Account.simulated(task.config.seed, device))

    def _uploads(self, device: int, images_NHWC: ImageRows, labels_N: np.ndarray) -> Uploaded:
        if not uploads_sums(self.config.method):
            return uploads_of(self.prepared, self.local(device, images_NHWC, labels_N))
        parts = [
            single_sums(self.prepared, self.local(device, part_of(images_NHWC, own_M), labels_N[own_M]))
            for own_M in one_of_each(labels_N)
        ]
        return joined(parts)

    def as_tested(self) -> Target:
        """The same, as test images pass it: as they are, and without noise; in the same order, which
        ``privacy.labels`` decides."""
        quiet = PrivacyConfig(labels=self.config.privacy.labels)
        config = dataclasses.replace(self.config, privacy=quiet).replace(data__augment=False)
        task = dataclasses.replace(self.prepared.task, config=config)
        return dataclasses.replace(self, config=config, prepared=dataclasses.replace(self.prepared, task=task))

    @cached_property
    def front(self) -> nn.Module:
        """What devices run, for who knows it."""
        bundle = self.prepared.bundle
        if bundle is not None:
            front = build_front(bundle.for_device(self.config.codec.limit_bits), self.config.normalisation)
            return SummedFront(front, Space.of(self.prepared)) if uploads_sums(self.config.method) else front
        return self.prepared.halves.front.train()

    @property
    def front_name(self) -> str:
        """For people."""
        bundle = self.prepared.bundle
        layer = self.prepared.halves.layer
        if bundle is None:
            return f"{self.config.model.name} up to {layer}, trained by the devices"
        return f"{bundle.card.get('name', bundle.model)} ({bundle.id[:12]}), up to {layer}"


def target_of(source: str | Path | None, sets: Iterable[str], note: Callable[[str], None]) -> Target:
    """A run's folder, or a preset, file or plain defaults with ``key=value`` words on top.

    Raises:
        ConfigError: a comparison's folder; settings for a run that has been trained; a front that is another one now.
    """
    folder = None if source is None else Path(source)
    if folder is None or not folder.is_dir():
        settings = settled(Settings.load(source, sets))
        config = settings.for_method(settings.method)
        return Target(
            configuration=settings.source, config=config, run=None, result=None, prepared=prepare(config, note)
        )
    if (folder / SUMMARY_FILE).is_file():
        raise ConfigError(f"{folder} is a comparison; name one of the runs in it")
    if not (folder / RESULT_FILE).is_file():
        raise ConfigError(f"{folder}: holds no {RESULT_FILE}; name a run's folder, a preset or a file of settings")
    if any(True for _ in sets):
        raise ConfigError(f"{folder} is a run, whose settings are settled; audit a preset or a file with --set")
    return _of_run(folder, note)


def _of_run(folder: Path, note: Callable[[str], None]) -> Target:
    refuse_if_owned(folder)  # uploads may just be deleted from it
    result = read_result(folder)
    config = Config.from_dict(result.config)
    bundle = open_buffer(folder).origin.bundle if holds_buffer(folder) else None
    try:
        prepared = prepare(config, note, bundle)
    except NoTrainingImagesError as error:
        raise NoTrainingImagesError(
            f"{error}; where the run's devices brought pictures of their own, audit its settings with such pictures: "
            "'ecofed audit PRESET --set data.name=FOLDER'"
        ) from error
    # The front is the very one that devices ran where the run keeps a buffer; what they hold is read anew all the same.
    for name in (*(() if bundle else ("front",)), "training pictures", "training labels", "division of the data"):
        then, now = result.inputs.get(name), prepared.inputs.get(name)
        if then is not None and then != now:
            raise ConfigError(f"{folder}: '{name}' is not what the run read; the audit would attack another upload")
    if prepared.bundle is None and (folder / MODEL_FILE).is_file():
        trained = state_arrays(load_model(folder).front)
        load_arrays(prepared.halves.front, trained)
        note("the front is the trained one, as devices have it in the last rounds")
    return Target(configuration=str(folder), config=config, run=folder, result=result, prepared=prepared)
