"""Fingerprints of everything that a run reads, so that a change under it is seen.

They are of contents as used, not of files: pictures after decoding, profiles and traces after parsing. So a copy of a
data set in another place or format is the same, and a file that was touched and not changed is, too. What follows from
the configuration alone (random weights, the seed's draws) is not read, and has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from ecofed.config.schema import PLUGINS, Config
from ecofed.costs.availability import read_trace
from ecofed.costs.profiles import dealt, load_device, load_link, load_server
from ecofed.data import Dataset, load_dataset, partition
from ecofed.data.reading import Reading, reading_of
from ecofed.data.stored import ImageRows, StoredImages, digest_of
from ecofed.errors import ConfigError, EcoFedError
from ecofed.files.disk import json_text
from ecofed.models import default_cut
from ecofed.models.registry import image_size
from ecofed.pretraining.resolve import resolve_front
from ecofed.results import short_digest
from ecofed.wire import FrontBundle

Inputs = dict[str, str]
TEST_PICTURES = "test pictures"
_OF_DEVICES = ("training pictures", "training labels", "division of the data")
#: Hexadecimal digits: no two contents meet in as many, by accident or on purpose.
_DIGITS = 32
_ROWS_AT_ONCE = 1 << 12


def data_inputs(dataset: Dataset, parts: Iterable[np.ndarray]) -> Inputs:
    """Of pictures, labels, class names and of who holds which picture."""
    found = {
        "training pictures": of_images(dataset.train.images_NHWC),
        "training labels": _of_arrays({"": dataset.train.labels_N}),
        "classes": _of_values(dataset.classes),
        "division of the data": _of_arrays({str(device): part for device, part in enumerate(parts)}),
    }
    if dataset.test is not None:
        found[TEST_PICTURES] = of_images(dataset.test.images_NHWC)
        found["test labels"] = _of_arrays({"": dataset.test.labels_N})
    return found


def front_inputs(bundle: FrontBundle | None, whole: Mapping[str, np.ndarray] | None = None) -> Inputs:
    """Of the front that the configuration names, and of a back that was pre-trained over it."""
    found: Inputs = {}
    if bundle is not None and bundle.card.get("origin") == "random weights":
        found["front"] = "random weights"
    elif bundle is not None:
        arrays = {f"front.{name}": array for name, array in bundle.weights.items()}
        arrays |= {f"expansion.{name}": array for name, array in bundle.expansion.items()}
        arrays |= {f"upper.{bits}": array for bits, array in bundle.upper.items()}
        arrays["normalisation"] = np.array([bundle.mean, bundle.std], np.float64)
        found["front"] = _of_arrays(arrays)
    if whole is not None:
        found["pre-trained back"] = _of_arrays(whole)
    return found


def file_inputs(config: Config) -> Inputs:
    """Of profiles, of an availability trace and of the text of plug-ins.

    Raises:
        ConfigError: one does not exist or cannot be read.
    """
    clock, trace = config.clock, config.availability.trace
    found = {f"device profile {name}": _of_values(vars(load_device(name))) for name in dealt(clock.device)}
    found |= {f"link profile {name}": _of_values(vars(load_link(name))) for name in dealt(clock.link)}
    found[f"server profile {clock.server}"] = _of_values(vars(load_server(clock.server)))
    if trace is not None:
        times = sorted(read_trace(Path(trace), config.devices).items())
        found[f"availability trace {trace}"] = _of_values(times)
    return found | {f"plug-in {own['plugin']}": own["digest"] for own in config.to_dict().get(PLUGINS, [])}


def without_devices(found: Inputs) -> Inputs:
    """Of what the server reads itself, where devices bring their own pictures."""
    return {name: digest for name, digest in found.items() if name not in _OF_DEVICES}


class Now:
    """What runs would read now; a data set that several of them name is read once."""

    def __init__(self) -> None:
        self._datasets: dict[tuple[str, str | None, Reading], Dataset] = {}

    def inputs(self, config: Config) -> Inputs:
        """Without those that would have to be computed first.

        Raises:
            EcoFedError: something is not there any more.
        """
        how = reading_of(config.data, image_size(config.model))
        key = (config.data.name, config.data.fallback, how)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(
                config.data.name, fallback=config.data.fallback, how=how, note=lambda _: None
            )
        dataset = self._datasets[key]
        train = dataset.train
        parts = partition(train.labels_N, config.devices, config.data, config.seed, train.device_N)
        found = data_inputs(dataset, parts) | file_inputs(config)
        if config.front.name not in ("random", "pretrain") and config.initialisation != "random":
            cut = config.model.cut or default_cut(config.model.name)
            found |= front_inputs(resolve_front(config, cut, dataset.channels, lambda _: None))
        return found


def refuse_changes(then: Mapping[str, str], now: Mapping[str, str], folder: Path) -> None:
    """Raise :class:`ConfigError` where something changed since the run in a folder read it; names everything."""
    changed = [
        f"{name} ({short_digest(then[name])} then, {short_digest(now[name])} now)"
        for name in then
        if name in now and then[name] != now[name]
    ]
    if changed:
        raise ConfigError(
            f"{folder}: what its run read has changed since: {', '.join(changed)}; bring back what was there, or "
            "choose another --out"
        )


def compare_with_now(
    then: Mapping[str, str], config: Config, folder: Path, now: Now, note: Callable[[str], None]
) -> None:
    """Have a finished run stand only for what is here now. What is not here any more is a note.

    Raises:
        ConfigError: something changed.
    """
    if not then:
        note(not_recorded(folder))
        return
    try:
        found = now.inputs(config)
    except EcoFedError as error:
        note(f"{folder}: what its run read cannot be compared with what is here now ({error})")
        return
    refuse_changes(then, found, folder)


def not_recorded(folder: Path) -> str:
    """A note for folders of earlier versions."""
    return (
        f"{folder}: its run began with a version of ecofed that did not record what a run reads; whether data, front "
        "and profiles are still the same is not known"
    )


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    digest = sha256()
    for name in sorted(arrays):
        array = np.atleast_1d(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        for at in range(0, len(array), _ROWS_AT_ONCE):  # they need not lie in one piece, and are not copied together
            digest.update(np.ascontiguousarray(array[at : at + _ROWS_AT_ONCE]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:_DIGITS]


def other_tests(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether test pictures are known of both, and are others: in folders without ``test/`` that have grown, some may
    be what was trained on."""
    known = {inputs[TEST_PICTURES] for inputs in (then, now) if TEST_PICTURES in inputs}
    return len(known) > 1


def of_images(images_NHWC: ImageRows) -> str:
    """The fingerprint of pictures in their order."""
    if isinstance(images_NHWC, StoredImages):
        return digest_of(images_NHWC)[:_DIGITS]
    return _of_arrays({"": images_NHWC})


def _of_values(values: object) -> str:
    return sha256(json_text(values, sort_keys=True).encode()).hexdigest()[:_DIGITS]
