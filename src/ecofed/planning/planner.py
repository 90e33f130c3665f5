"""Plan a run: bytes, time and memory for every method and cut, and settings to start from. Nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from functools import cached_property

import numpy as np

from ecofed.config import Config, Settings
from ecofed.config.held_out import taking_part
from ecofed.config.methods import OURS, PAPER_METHODS
from ecofed.config.privacy import check_privacy
from ecofed.config.task import Task
from ecofed.costs.calendar import Course
from ecofed.costs.clock import fleet_of
from ecofed.costs.rounds import Fleet
from ecofed.costs.workload import Workload
from ecofed.data import Dataset, load_dataset, partition
from ecofed.data.reading import reading_of
from ecofed.data.transforms import centre
from ecofed.devices.starting import make_worker
from ecofed.errors import ConfigError, DataError, ModelError
from ecofed.methods import method_class, sample_devices
from ecofed.models.fronts import with_precision
from ecofed.models.registry import check_back_width, default_cut, image_size
from ecofed.planning.answer import Plan
from ecofed.planning.compressed import with_compressed_fronts
from ecofed.planning.counting import CountedNetwork
from ecofed.planning.cut_network import build_workload, counted_network, stand_in_bundle
from ecofed.planning.delivered import delivered_bytes
from ecofed.planning.method_plan import MOST_ROUNDS, MethodPlan, plan_method
from ecofed.planning.private import audit_of, privacy_notes
from ecofed.planning.recommend import Narrow, Recommendation, recommend
from ecofed.planning.unequal import device_cuts
from ecofed.pretraining.bundling import early_bundle
from ecofed.pretraining.resolve import resolve_front
from ecofed.pretraining.shipped import AUTOMATIC_BYTES, shipped_fronts
from ecofed.wire import FrontBundle, InstallFront, Refresh, Upload, decode, encode

#: Entropy coding is tried on so many images of so many devices.
TRIED_IMAGES, TRIED_DEVICES = 64, 4
#: Training images, channels and classes of sets whose classes are equally large, so that they need not be read.
EQUAL_CLASSES = {"cifar10": (50_000, 3, 10), "cifar100": (50_000, 3, 100), "fashion-mnist": (60_000, 1, 10)}


def plan(settings: Settings, methods: Sequence[str] = PAPER_METHODS, *, every_layer: bool = False) -> Plan:
    """Plan these methods on the configured fleet.

    Args:
        settings: as for a comparison.
        methods: which; methods that the clock does not know are refused.
        every_layer: plan cuts inside blocks too.

    Raises:
        ConfigError: an unknown profile or method, or settings that do not fit each other.
        ModelError: the network cannot be cut where the configuration says.
    """
    return _Planner(settings.for_method(OURS), every_layer=every_layer).plan(settings, methods)


def plan_run(config: Config) -> MethodPlan:
    """Plan one run of one method, at its cut; errors as for :func:`plan`."""
    check_privacy(config)
    planner = _Planner(config)
    return planner.row(config, planner.cut, fleet_of(config))


class _Planner:
    def __init__(self, base: Config, *, every_layer: bool = False) -> None:
        self.notes: list[str] = []
        self.base = base
        self.samples, self.held_out, self.channels, self.classes = self._problem()
        self.cut = self.base.model.cut or default_cut(self.base.model.name)
        self._networks: dict[Hashable, CountedNetwork] = {}
        self._sampled: dict[tuple[int, ...], list[list[int]]] = {}
        self._courses: dict[Hashable, Course] = {}
        self._works: dict[Hashable, Workload] = {}
        self._lengths: dict[Hashable, int] = {}
        self._sent: dict[tuple[object, ...], float] = {}
        self._rows: dict[tuple[Config, str, int], MethodPlan] = {}
        self._impossible: dict[tuple[str, str], str] = {}
        check_back_width(self.base.model)
        self._network_of(self.base).halves(self.cut)
        cuts = self._network_of(self.base).cuts
        self.cuts = [cut for cut in cuts if every_layer or "." not in cut or cut == self.cut]

    def plan(self, settings: Settings, methods: Sequence[str]) -> Plan:
        """All methods at the configured cut, and at the others."""
        fleet = fleet_of(self.base)
        configs = [settings.for_method(method) for method in methods]
        private = privacy_notes(configs, max(self.samples))
        rows = [self.row(config, self.cut, fleet) for config in configs]
        for cut in self.cuts:
            names = [method for method in methods if method_class(method).cuts_network and cut != self.cut]
            rows += [row for method in names if (row := self._row_elsewhere(settings.for_method(method), cut, fleet))]
        self.notes += [
            f"{method} is not planned after {', '.join(cuts)} ({self._impossible[method, cuts[0]]})"
            for method, cuts in self._impossible_cuts().items()
        ]
        return Plan(
            config=self.base.to_dict(),
            cut=self.cut,
            cuts=self.cuts,
            devices={machine.name: machine.title for machine in fleet.devices},
            links={link.name: link.title for link in fleet.links},
            server=fleet.server.title,
            methods=rows,
            recommendation=self._recommendation(fleet) if OURS in methods else None,
            notes=list(dict.fromkeys([*private, *self.notes])),
        )

    def _row_elsewhere(self, config: Config, cut: str, fleet: Fleet) -> MethodPlan | None:
        """At a cut that nobody asked for, which the method's settings may not suit."""
        try:
            return self.row(config, cut, fleet)
        except ConfigError as error:
            self._impossible[config.method, cut] = str(error)
            return None

    def _impossible_cuts(self) -> dict[str, list[str]]:
        cuts: dict[str, list[str]] = {}
        for method, cut in self._impossible:
            cuts.setdefault(method, []).append(cut)
        return cuts

    def row(self, config: Config, cut: str, fleet: Fleet) -> MethodPlan:
        """One method at one cut."""
        key = (config, cut, id(fleet))
        if key not in self._rows:
            self._rows[key] = self._new_row(config, cut, fleet)
        return self._rows[key]

    def _new_row(self, config: Config, cut: str, fleet: Fleet) -> MethodPlan:
        config = _cut_at(config, cut)
        network = self._network_of(config)
        bundle = self._bundle(config, network, cut)
        problem = {"in_channels": self.channels, "classes": self.classes}
        # The configured pattern is for the configured cut: earlier ones are too early for some of it.
        cuts = device_cuts(
            config, network, cut, self.samples, bundle=bundle, fleet=fleet, lenient=cut != self.cut, **problem
        )
        own = dataclasses.replace(config.ecofed, device_cuts=None)
        place = (own, config.front, config.codec, config.privacy, config.normalisation, config.method)
        key = (*place, config.initialisation, cut, tuple(cuts or ()))
        if key not in self._works:
            work = build_workload(config, network, cut, bundle=bundle, device_cuts=cuts, **problem)
            coded = method_class(config.method).coded(config)
            if coded is not None and coded.entropy != "none" and config.privacy.epsilon is None:  # noise is not shorter
                work = self._entropy_coded(config, cut, work)
            if config.front.precision == "compact" and method_class(config.method).needs_frozen_front:
                work = self._compact(config, cut, work)
            work = self._compressed(config, work)
            delivered = self._delivered(_cut_at(config, self.cut))
            self._works[key] = dataclasses.replace(work, network_bytes=delivered)
        work = self._works[key]
        draw = (config.seed, config.rounds, config.devices, config.sampled_devices)
        if draw not in self._sampled:
            self._sampled[draw] = [sample_devices(config, round_) for round_ in range(1, config.rounds + 1)]
        # Of the other cuts a rough time will do.
        most_rounds = MOST_ROUNDS if cut == self.cut else 3
        row = plan_method(
            method_class(config.method),
            config,
            cut,
            work,
            self.samples,
            self._sampled[draw],
            fleet,
            most_rounds,
            self._courses,
            self.held_out,
        )
        known = audit_of(config, bundle.id)
        if known is None:
            return row
        self.notes.append(f"{config.method}: {known}")
        return dataclasses.replace(row, leakage_ssim=known.ssim)

    def _delivered(self, config: Config) -> int:
        """Length of the trained network on its way, cut as configured: elsewhere it is nearly the same."""
        if config.delivery == "none":
            return 0
        key = (config.method, config.delivery, config.front, config.codec)
        if key not in self._lengths:
            try:
                dataset = self._dataset
            except DataError:
                dataset = None
                self.notes.append("the images are not here: the delivered network may be longer by its classes' names")
            problem = {"in_channels": self.channels, "classes": self.classes}
            bundle = self._bundle(config, self._network_of(config), self.cut)
            try:
                self._lengths[key] = delivered_bytes(config, self.cut, bundle, dataset=dataset, **problem)
            except ModelError as error:  # as in the run: all but that is foreseen
                self._lengths[key] = 0
                self.notes.append(f"the trained network cannot be delivered ({error})")
        return self._lengths[key]

    def _recommendation(self, fleet: Fleet) -> Recommendation:
        networks = {cut: self._network_of(_cut_at(self.base, cut)) for cut in self.cuts if "." not in cut}
        shares = {cut: own.halves(cut)[0].flops / max(1, own.whole().flops) for cut, own in networks.items()}
        usual = default_cut(self.base.model.name)
        normalisation = "group" if self.base.normalisation == "group" else "frozen"
        place = (self.base.model.name, self.base.model.width, usual, self.channels, normalisation)
        narrow = [
            Narrow(name=front.name, bytes_per_image=front.card["bytes_per_image"], bits=front.card["bits"])
            for front in shipped_fronts()
            if front.bottleneck
            and (front.model, front.width, front.cut, front.in_channels, front.normalisation) == place
            and front.card["bytes_per_image"] <= AUTOMATIC_BYTES
        ]
        narrow.sort(key=lambda front: -front.bytes_per_image)
        return recommend(self.base, fleet, usual, shares, self.row, narrow)

    def _network_of(self, config: Config) -> CountedNetwork:
        key = (config.normalisation, config.model)
        if key not in self._networks:
            self._networks[key] = counted_network(config, self.channels, self.classes)
        return self._networks[key]

    def _bundle(self, config: Config, network: CountedNetwork, cut: str) -> FrontBundle:
        """The front that the run would use; where it is still to be made, one of the same shape."""
        if cut != self.cut:
            return stand_in_bundle(config, network, cut, self.channels)
        if config.front.name == "pretrain" and config.initialisation != "random":
            self.notes.append("the pre-trained front's length is that of a random one, give or take a few bytes")
        return resolve_front(
            config,
            cut,
            self.channels,
            self.notes.append,
            stand_in=lambda: stand_in_bundle(config, network, cut, self.channels),
        )

    def _compact(self, config: Config, cut: str, work: Workload) -> Workload:
        """With the front's length after compression, where there is a front to compress."""
        if cut != self.cut or config.front.name == "pretrain":
            self.notes.append("compact fronts are compressed for the configured cut only; at others an upper bound")
            return work
        whole = with_precision(resolve_front(config, cut, self.channels, self.notes.append), "compact")
        return with_compressed_fronts(work, whole, config)

    def _entropy_coded(self, config: Config, cut: str, work: Workload) -> Workload:
        """With the mean bytes of a sample's codes after entropy coding, where that can be tried."""
        if cut != self.cut:
            self.notes.append(
                "entropy coding is foreseen at the configured cut only; at others bytes are an upper bound"
            )
            return work
        if config.front.name == "pretrain":
            self.notes.append("entropy coding is not foreseen for a front that is still to be made: an upper bound")
            return work
        try:
            dataset = self._dataset
        except DataError:
            self.notes.append("the images are not here to try entropy coding on: bytes are an upper bound")
            return work
        settings = config.ecofed
        whole = resolve_front(config, cut, self.channels, self.notes.append)
        whole = with_precision(whole, config.front.precision)
        bits = None if settings.lossless_early else settings.early_bits
        early = {one.cut: one for one in work.early if one is not None}
        for name, one in early.items():
            sent = self._tried(config, early_bundle(whole, name, bits), dataset)
            early[name] = dataclasses.replace(one, sent_row_bytes=sent)
        common = self._tried(config, whole.for_device(config.codec.limit_bits), dataset) if None in work.early else None
        self.notes.append("entropy coding depends on the images: bytes are foreseen from some of them")
        return dataclasses.replace(work, sent_row_bytes=common, early=[one and early[one.cut] for one in work.early])

    @cached_property
    def _dataset(self) -> Dataset:
        how = reading_of(self.base.data, image_size(self.base.model))
        return load_dataset(self.base.data.name, fallback=self.base.data.fallback, how=how)

    def _compressed(self, config: Config, work: Workload) -> Workload:
        """With the bytes of a sample as it travels, of methods that send what is compressed."""
        cls = method_class(config.method)
        if cls.tried_row_bytes(config, np.zeros((1, 8, 8, self.channels), np.uint8), 1) is None:
            return work
        key = (config.method, config.of_method(config.method))
        if key not in self._sent:
            try:
                images_NHWC = self._dataset.train.images_NHWC
            except DataError:
                self.notes.append(f"the images are not here to try what {config.method} sends: an upper bound")
                return work
            own = max(1, sum(self.samples) // len(self.samples))
            some_NHWC = images_NHWC[:: max(1, len(images_NHWC) // (TRIED_IMAGES * TRIED_DEVICES))]
            side = image_size(config.model)
            some_NHWC = some_NHWC if side is None else centre(some_NHWC, side)
            self._sent[key] = cls.tried_row_bytes(config, some_NHWC, own) or 0.0
            self.notes.append(f"what {config.method} sends depends on the images: bytes are foreseen from some of them")
        return dataclasses.replace(work, sent_row_bytes=self._sent[key])

    def _tried(self, config: Config, front: FrontBundle, dataset: Dataset) -> float:
        """Mean bytes of a sample's codes as they travel, tried on some images of a few devices."""
        key = (front.id, config.codec, config.ecofed.early_bits)
        if key in self._sent:
            return self._sent[key]
        train = dataset.train
        parts = partition(train.labels_N, config.devices, config.data, config.seed, train.device_N)
        some = [part[:: max(1, len(part) // TRIED_IMAGES)] for part in parts]
        task = Task(
            config=config,
            in_channels=self.channels,
            classes=self.classes,
            mean=front.mean,
            std=front.std,
            flip=dataset.flip,
            picture_size=train.images_NHWC.shape[1:3],
            input_size=front.input_size,
            cover=image_size(config.model) is not None,
        )
        sent = samples = 0
        for device in sorted(range(config.devices), key=lambda device: -len(parts[device]))[:TRIED_DEVICES]:
            worker = make_worker(task, dataset, some, device, "cpu")
            worker.handle(encode(InstallFront(bundle=front.encode())).data)
            request = Refresh(round=1, view=0, front_id=front.id, want_labels=False)
            reply, _ = decode(worker.handle(encode(request).data))
            assert isinstance(reply, Upload)
            sent, samples = sent + len(reply.codes), samples + reply.samples
        self._sent[key] = sent / max(1, samples)
        return self._sent[key]

    def _problem(self) -> tuple[list[int], list[int], int, int]:
        """Samples of each device that take part, those that it holds out itself, channels and classes."""
        config = self.base
        device_N = None
        if config.data.name in EQUAL_CLASSES and config.data.partition != "column":  # whose images are is in the data
            count, channels, classes = EQUAL_CLASSES[config.data.name]
            labels_N = np.arange(count) % classes
        else:
            dataset = self._dataset
            labels_N, device_N = dataset.train.labels_N, dataset.train.device_N
            channels, classes = dataset.channels, len(dataset.classes)
        parts = partition(labels_N, config.devices, config.data, config.seed, device_N)
        counts = [len(taking_part(config, *one)) for one in enumerate(map(len, parts))]
        return counts, [len(part) - count for part, count in zip(parts, counts, strict=True)], channels, classes


def _cut_at(config: Config, cut: str) -> Config:
    """The same at another cut, where the network depends on it."""
    return config if config.model.back_width is None else config.replace(model__cut=cut)
