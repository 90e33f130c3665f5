"""Before the first round: data, partition, the initial network, the front, the devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from ecofed.config.fields import require
from ecofed.config.held_out import taking_part, trained_count
from ecofed.config.methods import OURS, facts_of
from ecofed.config.privacy import check_privacy
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.data import (
    Dataset,
    ImageSet,
    load_dataset,
    partition,
    require_classes,
    require_test,
    test_indices,
    to_input,
)
from ecofed.data.images import SIZE
from ecofed.data.partitions import in_no_shard, left_out, owners_in
from ecofed.data.places import cure
from ecofed.data.reading import reading_of
from ecofed.data.repeated import repeated
from ecofed.data.transforms import centre
from ecofed.devices import DeviceWorker
from ecofed.devices.starting import make_worker
from ecofed.errors import ConfigError
from ecofed.files.sealing import seal_if
from ecofed.models import (
    Partition,
    build_model,
    calibrate,
    default_cut,
    initialise,
    load_arrays,
    native_precision,
    set_precision,
    with_precision,
)
from ecofed.models import partition as cut_in_two
from ecofed.models.bottleneck import narrow
from ecofed.models.own_networks import check_front, check_outputs
from ecofed.models.registry import check_back_width, image_size, input_side
from ecofed.planning.unequal import early_fronts
from ecofed.pretraining.bundling import public_images
from ecofed.pretraining.resolve import resolve_front, resolve_whole, starts_published
from ecofed.results import DataSummary
from ecofed.runs.data_summary import summary_of
from ecofed.runs.inputs import Inputs, data_inputs, file_inputs, front_inputs
from ecofed.wire import FrontBundle

Note = Callable[[str], None]
#: More negative activations than this are worth a note where the codec cannot say them.
NEGATIVE_NOTED = 0.01


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that is ready to start."""

    task: Task
    dataset: Dataset
    shares: list[np.ndarray]
    """Training-set indices of each device."""
    parts: list[np.ndarray]
    """Of them, those that take part: all but what devices hold out themselves."""
    model: nn.Module
    halves: Partition
    """The model cut in two; where a bottleneck's codes travel, with the bottleneck and its expansion."""
    bundle: FrontBundle | None
    early: tuple[FrontBundle | None, ...]
    """The fronts of devices that stop early, dealt to them (:class:`ecofed.methods.base.Context`)."""
    front_card: dict[str, object] | None
    torch_device: torch.device
    summary: DataSummary
    inputs: dict[str, str] = field(default_factory=dict)
    """Fingerprints of what was read (:mod:`ecofed.runs.inputs`)."""

    def test_set(self) -> tuple[Callable[[slice], Tensor], np.ndarray] | None:
        """Test images as network input, and labels (N,): a slice of them gives (B, C, input_size, input_size).
        ``None``: the run has none."""
        test, task = _test_images(self.dataset, self.task.config), self.task
        if test is None:
            return None
        chosen = test_indices(len(test), task.config.test_part, task.config.test_samples)

        def inputs(which: slice) -> Tensor:
            images_BHWC = test.images_NHWC[chosen[which]]
            if task.cover:
                images_BHWC = centre(images_BHWC, task.input_size)
            return torch.from_numpy(to_input(images_BHWC, task.mean, task.std, task.input_size))

        return inputs, test.labels_N[chosen]

    def test_owners(self) -> np.ndarray | None:
        """Whose the test images are: the device's number in the run, -1 of others, int64 (N,). ``None``: not known."""
        test, task = _test_images(self.dataset, self.task.config), self.task
        train_N = self.dataset.train.device_N
        if test is None or test.device_N is None or train_N is None:
            return None
        chosen = test_indices(len(test), task.config.test_part, task.config.test_samples)
        return owners_in(self.shares, train_N, test.device_N[chosen])

    def worker(self, device: int) -> DeviceWorker:
        """The worker of one simulated device, with its own samples only."""
        return make_worker(self.task, self.dataset, self.shares, device, str(self.torch_device))


def prepare(config: Config, note: Note, front: FrontBundle | None = None, *, fleet: bool = False) -> Prepared:
    """Load, partition, initialise.

    Args:
        config: of the run.
        note: is told what a reader should know.
        front: the very one that devices ran, instead of what the configuration names.
        fleet: devices bring what they have, so that a data set of test images will do, or with fewer than they need.

    Raises:
        DataError: the data set is missing or unusable. ConfigError: settings that do not fit each other or the data.
    """
    check_validation(config)
    check_privacy(config)
    seal_if(config.encrypt_buffer)  # a key that is missing is said before the first minute is spent
    torch.set_num_threads(config.threads)
    side = image_size(config.model)
    sent_as = facts_of(config.method).sent_as(config)
    if sent_as and sent_as[1] > (side or SIZE):
        raise ConfigError(
            f"{config.method}.size = {sent_as[1]}: {config.model.name} takes pictures of {side or SIZE} pixels a side"
        )
    how = replace(reading_of(config.data, side), test_alone=fleet)
    dataset = load_dataset(config.data.name, fallback=config.data.fallback, how=how, note=note)
    if dataset.name == config.data.fallback != config.data.name:
        note(f"{config.data.name} was found nowhere: using {dataset.title} instead; {cure(config.data.name)}")
    require_classes(dataset, config.data.name)
    for text in repeated(dataset):
        note(text)
    test = _test_images(dataset, config)
    train = dataset.train
    shares = _dealt(train, config, fleet=fleet)
    for left in (
        left_out(shares, train.device_N, config.data),
        in_no_shard(train.labels_N, config.devices, config.data, dataset.classes) if any(map(len, shares)) else None,
    ):
        if left is not None:
            note(left)
    parts = [share[taking_part(config, device, len(share))] for device, share in enumerate(shares)]
    if (
        test is None
        and any(map(len, shares))
        and all(trained_count(config, device, len(share)) == len(share) for device, share in enumerate(shares))
    ):
        rule = "holds out none of so few samples, and there are no test images"
        raise ConfigError(f"validation.fraction = {config.validation.fraction}: {rule}")
    model, halves, bundle, mean, std, fronts = _initial_network(config, dataset, note, front)
    facts = facts_of(config.method)
    task = Task(
        config=config,
        in_channels=dataset.channels,
        classes=len(dataset.classes),
        mean=mean,
        std=std,
        flip=dataset.flip,
        white=dataset.white,
        picture_size=train.images_NHWC.shape[1:3],
        input_size=side or SIZE,
        cover=side is not None,
        sent_as=facts.sent_as(config),
        class_names=dataset.classes,
    )
    tested = 0 if test is None else len(test_indices(len(test), config.test_part, config.test_samples))
    device = torch_device(config.accelerator)
    for module in (model, halves.front, halves.back):
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_precision(module, config.precision)
    return Prepared(
        task=task,
        dataset=dataset,
        shares=shares,
        parts=parts,
        model=model,
        halves=halves,
        bundle=bundle if facts.needs_frozen_front else None,
        early=early_fronts(
            task, halves.layer, bundle if facts.stops_early else None, [len(part) for part in parts], note
        ),
        front_card=None if bundle is None else _card(bundle, config),
        torch_device=device,
        summary=summary_of(dataset, parts, tested, side),
        inputs=data_inputs(dataset, shares) | fronts | file_inputs(config) | _arithmetic(config, device),
    )


def _dealt(train: ImageSet, config: Config, *, fleet: bool) -> list[np.ndarray]:
    """Of the training set, what each device has; nothing where it is a fleet's server that has too few to deal out."""
    try:
        return partition(train.labels_N, config.devices, config.data, config.seed, train.device_N)
    except ConfigError:
        if not fleet:
            raise
        return [np.empty(0, np.int64)] * config.devices


def check_validation(config: Config) -> None:
    """Raise :class:`ConfigError` where the method has nothing that could be held out."""
    asked, facts = config.validation, facts_of(config.method)
    if asked.on_devices:
        rule = f"devices test the network that {config.method} trains, and it trains none that could be sent to them"
        require(facts.has_network, "validation.on_devices", asked.on_devices, rule)
        rule = "needs delivery=float or delivery=int8, which brings the trained network to the devices"
        require(config.delivery != "none", "validation.on_devices", asked.on_devices, rule)
    rule = (
        f"is for methods whose uploads the server keeps, such as {OURS}; that of {config.method} keeps none: hold out "
        "on the devices, with validation.on_devices=true and delivery=float"
    )
    require(facts.keeps_uploads or not asked.on_server, "validation.fraction", asked.fraction, rule)


def _test_images(dataset: Dataset, config: Config) -> ImageSet | None:
    """The server's test images; ``None`` where the run is judged by what devices hold out.

    Raises:
        DataError: there are none, and nothing is held out.
    """
    held_out = config.validation.fraction > 0
    return None if config.test_samples == 0 or (held_out and dataset.test is None) else require_test(dataset)


def _arithmetic(config: Config, device: torch.device) -> Inputs:
    """What the processor decided: a run that goes on elsewhere must not go on in another precision."""
    return {"precision on the server": native_precision(device)} if config.precision == "auto" else {}


def torch_device(accelerator: str) -> torch.device:
    """Where to train.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if accelerator == "cuda" and not available:
        raise ConfigError("accelerator = 'cuda': PyTorch sees no CUDA device; use accelerator=cpu or auto")
    return torch.device("cuda" if available and accelerator != "cpu" else "cpu")


def _initial_network(
    config: Config, dataset: Dataset, note: Note, front: FrontBundle | None
) -> tuple[nn.Module, Partition, FrontBundle | None, tuple[float, ...], tuple[float, ...], Inputs]:
    """The whole network as every method starts from it, the front's bundle where there is one, and fingerprints."""
    channels, classes = dataset.channels, len(dataset.classes)
    check_back_width(config.model)
    model = build_model(config.model, in_channels=channels, classes=classes, normalisation=config.normalisation)
    initialise(model, config.seed)
    cut = config.model.cut or default_cut(config.model.name)
    halves = cut_in_two(model, cut)
    check_outputs(halves, config.model, in_channels=channels, side=input_side(config.model), classes=classes)
    bundle, mean, std = None, dataset.mean, dataset.std
    fronts: Inputs = {}
    facts = facts_of(config.method)
    coded = facts.coded(config)
    if facts.needs_frozen_front or config.initialisation != "random":
        check_front(halves.front, config, in_channels=channels, classes=classes)
        bundle = front or resolve_front(config, cut, channels, note)
        fronts = front_inputs(bundle)
        if front is None and facts.needs_frozen_front:
            bundle = with_precision(bundle, config.front.precision)
        mean, std = bundle.mean, bundle.std
        if coded is not None and bundle.expansion:
            narrow(halves, bundle.weights["bottleneck.conv.weight"].shape, bundle.expansion, config.normalisation)
            load_some(halves.back, {f"expansion.{name}": array for name, array in bundle.expansion.items()})
        known = halves.front.state_dict()  # baselines train the plain network: a bottleneck's layers are left out
        load_arrays(halves.front, {name: array for name, array in bundle.weights.items() if name in known})
    published = starts_published(config)
    if published or config.initialisation == "whole":
        whole = resolve_whole(config, cut, channels, note)
        fronts |= front_inputs(None, whole)
        load_some(halves.back, without_last_layer(whole, halves.back))
    if config.normalisation == "frozen" and not published:  # whose statistics are of a million photographs
        side = input_side(config.model)
        x_NCHW = torch.from_numpy(to_input(public_images(channels, side), mean, std, side))
        if bundle is None:
            calibrate(halves.front, x_NCHW)
        h_NCHW = public_activations(halves.front, x_NCHW)
        if coded is not None and coded.limit_bits is not None:
            _note_negative(float((h_NCHW < 0).double().mean()), cut, coded.name, note)
        calibrate(halves.back, h_NCHW)
    return model.train(), halves, bundle, mean, std, fronts


@torch.no_grad()
def public_activations(front: nn.Module, x_NCHW: Tensor) -> Tensor:
    """What the front makes of the public images, in evaluation mode."""
    front.eval()
    return torch.cat([front(batch) for batch in torch.split(x_NCHW, 100)])


def _note_negative(fraction: float, cut: str, codec: str, note: Note) -> None:
    """The codecs that take limits from the bundle have levels from zero up."""
    if fraction > NEGATIVE_NOTED:
        note(
            f"{fraction:.0%} of the activations after '{cut}' are negative, and codec.name={codec} makes them 0; cut "
            "after the activation function, or set codec.name=minmax codec.bits=8"
        )


def without_last_layer(arrays: dict[str, np.ndarray], back: nn.Module) -> dict[str, np.ndarray]:
    """Its outputs are other classes, even where there happen to be as many."""
    assert isinstance(back, fx.GraphModule)
    called = [str(node.target) for node in back.graph.nodes if node.op == "call_module"]
    last = [name for name in called if any(True for _ in back.get_submodule(name).parameters())][-1]
    return {name: array for name, array in arrays.items() if not name.startswith(f"{last}.")}


def load_some(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Load what fits by name and shape; the rest keeps its start."""
    state = module.state_dict()
    fitting = {name: array for name, array in arrays.items() if name in state and state[name].shape == array.shape}
    with torch.no_grad():
        for name, array in fitting.items():
            state[name].copy_(torch.from_numpy(array))


def _card(bundle: FrontBundle, config: Config) -> dict[str, object]:
    delivered = bundle.for_device(facts_of(config.method).limits_sent(config, bundle.upper))
    return {
        **bundle.card,
        "id": delivered.id,
        "activation_shape": list(bundle.activation_shape),
        "delivered_bytes": len(delivered.encode()),
    }
