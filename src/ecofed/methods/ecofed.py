"""EcoFed (Wu et al., IEEE TPDS 35(3), 2024; arXiv 2304.05495): frozen front, quantised activations, replay buffer.

A device gets the pre-trained front once. In a refresh round the sampled devices upload coded activations, which replace
their older ones in the server's replay buffer; in the rounds between, nothing travels and the server trains on the
buffer. Only the back is trained. ``pooled`` (ours) trains one back on batches mixed over the whole buffer; ``fedavg``
(the paper) trains one back per device and averages them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.activations import (
    Division,
    Pool,
    ReplayBuffer,
    Samples,
    UploadHistory,
    View,
    check_length,
    configured_buffer,
    configured_codec,
    decompress,
    make_refresh_policy,
    saturation_warned,
)
from ecofed.activations.augmentation import FeatureAugmentation
from ecofed.config.methods import EcoFedFacts
from ecofed.config.network_input import images_at_once
from ecofed.config.schema import Config
from ecofed.config.task import upload_order
from ecofed.costs.steps import FRONT_ID, Step, Stop, Work, labels, split
from ecofed.costs.workload import Workload
from ecofed.errors import DeviceError, WireError
from ecofed.files.json_values import read_as
from ecofed.methods.at_once import in_order
from ecofed.methods.base import Context, Keeping, Method, RoundOutcome, mean, under
from ecofed.methods.channel import Ask
from ecofed.methods.completion import Completion, completions_of
from ecofed.methods.pooled import PooledTrainer, has_running_statistics
from ecofed.methods.replay import EcoFedAgenda, Opened, ReplayState, labels_in_order, replayed_devices, saturation_note
from ecofed.methods.restoring import check_view
from ecofed.models import WeightedAverage, build_front, load_arrays, set_normalisation, state_arrays
from ecofed.models.registry import input_side
from ecofed.wire import FrontBundle, FrontInstalled, InstallFront, Message, Refresh, RefreshNew, Upload
from ecofed.wire.sizes import ArrayShape


class EcoFed(EcoFedFacts, Method):
    """Front down once, codes up now and then."""

    agenda = EcoFedAgenda

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.bundle is not None
        settings = self.config.ecofed
        codec = self.config.codec
        self.bundle = context.bundle.for_device(codec.limit_bits)
        self.codec = configured_codec(codec, self.bundle.activation_shape, self.bundle.upper.get(codec.bits))
        self._completions = completions_of(context.early, self.bundle, self.codec, self.config, context.torch_device)
        self.refresh = make_refresh_policy(settings, self.config.rounds)
        self.buffer = self._empty_buffer()
        self.division = Division(self.buffer, self.config)
        self.front = build_front(self.bundle, self.config.normalisation).to(context.torch_device)
        if settings.server == "pooled" and has_running_statistics(context, settings):
            set_normalisation(self.halves.back, "running")
        self.back: nn.Module = self.halves.back.to(context.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainer = PooledTrainer(self.back, self._inputs, context.task, settings, torch_device=context.torch_device)
        self._augment = FeatureAugmentation(
            flip=settings.flip if context.task.flip else 0.0,
            shift=settings.shift,
            cutout=settings.cutout,
            crop=settings.crop,
        )
        self._installed: set[int] = set()
        self._to_reinstall: set[int] = set()
        self.history = self._empty_history()
        self._saturation_noted = False

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        asked = [device for device in sampled if self._wants(round_, device)]
        uploads: dict[int, Opened] = {}
        done = sum(device in self.history.past for device in sampled if device not in asked)
        visit = self.channel.visit(asked, lambda device: self._opening(device, round_), self._opened, settled=done)
        for device, upload in visit:
            self._installed.add(device)
            self._to_reinstall.discard(device)
            uploads[device] = upload
        for device, upload in uploads.items():
            self.counts.keep({device: self._first(device) + len(upload.view)})
            if len(upload.view) or not self._first(device):
                self.buffer.put(device, self.history.of(device).views, upload.view, self.bundle.id)
            self.history.add(device, round_, upload.content_bytes, len(upload.view))
        fresh_losses = []
        if self.refresh.watches_fresh_loss:
            fresh = [self.division.trained(device, upload.view) for device, upload in uploads.items()]
            fresh_losses = [self.trainer.loss_on(view) for view in fresh if len(view)]
        saturated = [upload.saturated_fraction for upload in uploads.values()]
        devices = replayed_devices(self.config, round_, sampled, list(uploads), self.division.devices)
        loss = self._train(round_, devices)
        self.refresh.observe(fresh_loss=mean(fresh_losses), train_loss=loss)
        notes = [] if devices else [self.division.nothing("the replay buffer is empty")]
        worst, most = max(saturated, default=0.0), saturation_warned(self.config.codec.bits)
        noisy = self.config.privacy.epsilon is not None  # then most entries are noise, which no limits suit
        if worst > most and not (noisy or self._saturation_noted):
            self._saturation_noted = True  # once a run: every record has its own saturated_fraction
            notes.append(saturation_note(worst, most))
        return RoundOutcome(
            train_loss=loss,
            trained=loss is not None,
            refreshed=bool(asked),
            saturated_fraction=mean(saturated),
            server_steps=self._server_steps(devices),
            notes=notes,
        )

    def _empty_buffer(self) -> ReplayBuffer:
        own, sealed = self.config.ecofed, self.config.encrypt_buffer
        return configured_buffer(own, self.bundle.id, self.context.folder, sealed=sealed)

    def _empty_history(self) -> UploadHistory:
        return UploadHistory(self.buffer.folder)

    # --- uploads ---

    def _wants(self, round_: int, device: int) -> bool:
        return self.refresh.wants(round_, self.history.of(device))

    def _first(self, device: int) -> int:  # noqa: ARG002 - for runs that add to what is there
        return 0  # from which of its samples on the device is asked

    def _request(self, device: int, round_: int) -> Message:
        front_id, view = self._front_of(device).id, self.history.of(device).views
        return Refresh(round=round_, view=view, front_id=front_id, want_labels=self._own_labels(device) is None)

    def _own_labels(self, device: int) -> np.ndarray | None:
        """The device's labels in its own sample order, as its first upload brought them; ``None`` before that."""
        return labels_in_order(self.buffer.latest(device)) if device in self.history.samples else None

    def _opening(self, device: int, round_: int) -> list[Ask]:
        """The front for a device that has none, and what it is asked."""
        asks = [Ask(request=self._request(device, round_), reply=Upload)]
        again = device in self._to_reinstall
        if again or device not in self._installed:
            front = Ask(
                request=InstallFront(bundle=self._front_of(device).encode()),
                reply=FrontInstalled,
                counted=self.config.front.delivery == "download",
                retransmission=again,
            )
            asks.insert(0, front)
        return asks

    def _opened(self, device: int, replies: Sequence[Message]) -> Opened:
        """Check what a device sent, and complete it where the device stopped early."""
        front_id, completion = self._front_of(device).id, self._completion_of(device)
        codec = self.codec if completion is None else completion.uploaded
        for installed in replies[:-1]:
            if getattr(installed, "front_id", None) != front_id:
                raise DeviceError(f"installed another front than {front_id}")
        reply = replies[-1]
        assert isinstance(reply, Upload)
        number = self.history.of(device).views
        if reply.view != number:
            raise WireError(f"upload of view {reply.view} where view {number} was asked for")
        if reply.front_id != front_id:
            raise WireError(f"upload of activations of front {reply.front_id}, not {front_id}")
        if not 0 <= reply.saturated_fraction <= 1:
            raise WireError(f"upload whose saturated fraction is {reply.saturated_fraction}")
        # Counts and lengths first: the claimed sample count decides how much work what follows is.
        entropy, batch_size, own_order_N = self.config.codec.entropy, self.config.batch_size, self._own_labels(device)
        check_length(reply.codes, reply.samples, codec, entropy)
        self.counts.check(device, self._first(device) + reply.samples)
        if len(reply.labels_N) != (reply.samples if own_order_N is None else 0):
            raise WireError(f"{len(reply.labels_N)} labels for {reply.samples} samples")
        codec.check_scales(reply.scales, reply.samples, batch_size)
        sent_labels_N = self.labels(reply.labels_N).cpu().numpy()
        codes = decompress(reply.codes, reply.samples, codec, entropy)
        rows, scale_N = codec.open(codes, reply.samples, reply.scales, batch_size)
        order_N = upload_order(self.config.seed, device, number, reply.samples)
        if own_order_N is None:
            own_order_N = np.empty(reply.samples, np.int64)
            own_order_N[order_N] = sent_labels_N
        sample_N, saturated = self._first(device) + order_N.astype(np.int64), reply.saturated_fraction
        if completion is not None:
            completed = completion.complete(rows)
            rows, saturated = completed.rows, max(saturated, completed.saturated_fraction)
            scale_N = np.repeat(completed.scales, batch_size)[: reply.samples]
        return Opened(
            view=View(rows=rows, scale_N=scale_N, sample_N=sample_N, labels_N=own_order_N[order_N]),
            saturated_fraction=saturated,
            content_bytes=len(reply.codes) + reply.scales.nbytes + reply.labels_N.nbytes,
        )

    def _completion_of(self, device: int) -> Completion | None:
        return self._completions[device % len(self._completions)]

    def _front_of(self, device: int) -> FrontBundle:
        """What the device is sent and runs."""
        completion = self._completion_of(device)
        return self.bundle if completion is None else completion.bundle

    def device_forgot(self, device: int) -> None:
        if device in self._installed:
            self._to_reinstall.add(device)

    # --- training ---

    def _samples_of(self, device: int) -> int:
        return len(self.division.latest(device))

    def _server_steps(self, devices: list[int]) -> int:
        """SGD steps of a round about these devices."""
        return self.config.ecofed.steps(map(self._samples_of, devices), self.config.batch_size)

    def _train(self, round_: int, devices: list[int]) -> float | None:
        """On the buffer, in a round about these devices; the mean loss."""
        if self.config.ecofed.server == "fedavg":
            return self._train_each(devices)
        return self._train_pooled(round_, devices) if devices else None

    def _train_pooled(self, round_: int, devices: list[int]) -> float:
        """SGD on batches mixed over the whole buffer."""
        settings = self.config.ecofed
        pool = self.division.pool(None if settings.replay else devices)
        return self.trainer.train(round_, pool, pool.device_N, self._server_steps(devices))

    def _train_each(self, devices: list[int]) -> float | None:
        """The paper: one copy of the back per device, on its batches as they were uploaded; then the average."""
        average, losses = WeightedAverage(), []
        views = [self.division.latest(device) for device in devices]
        trained = in_order(self._trained_copy, views, self.channel.at_once)
        for view, (back, of_device) in zip(views, trained, strict=True):
            losses += of_device
            average.add(state_arrays(back), self.weight(len(view)))
        if losses:
            load_arrays(self.back, average.result())
        return mean(losses)

    def _trained_copy(self, view: View) -> tuple[nn.Module, list[float]]:
        batches = (self.trainer.batch(view, np.r_[batch], None) for batch in self.batches(len(view)))
        return self.trained_copy(self.back, batches)

    def _inputs(self, view: Samples, rows_B: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """Decoded activations (B, C, H, W) of these rows, augmented where there is a generator."""
        scale_B = view.scale_N[rows_B] if len(view.scale_N) else None
        h_BCHW = self.codec.decode(view.rows[rows_B], scale_B)
        return h_BCHW if random is None else self._augment(h_BCHW, random)

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """The front for a device that has none, and one view; labels travel once."""
        early = work.early[stop.kind]
        own = early or work
        front = work.frozen_front if early is None else early.front
        scaled = early is None and work.scaled_batches
        batches = split(stop.samples, config.batch_size)
        at_once = images_at_once(input_side(config.model))
        chunks = batches if config.normalisation == "batch" or scaled else split(stop.samples, at_once)
        if stop.front:
            yield Step(
                request=InstallFront,
                down={"bundle": own.bundle_bytes},
                reply=FrontInstalled,
                up={"front_id": FRONT_ID},
                counted=config.front.delivery == "download",
            )
        yield Step(
            request=Refresh,
            of_new=RefreshNew,
            down={"front_id": FRONT_ID},
            device=[Work("infer", (front,), chunks)],
            reply=Upload,
            up={
                "front_id": FRONT_ID,
                "codes": round(stop.samples * (own.sent_row_bytes or own.row_bytes)),
                "scales": ArrayShape((len(batches) if scaled else 0,)),
                "labels_N": labels(work, stop.samples if stop.first else 0),
            },
            server=[] if early is None else [Work("infer", (early.middle,), chunks)],
            streamed=True,
        )

    # --- the network, and what a resumed run needs ---

    def test_input(self, x_NCHW: Tensor) -> Tensor:
        """Test images pass front and codec as training images do; the front is frozen, so once is enough."""
        return self.tensor(self.codec.there_and_back(self.front(x_NCHW).cpu().numpy()))

    @property
    def _trained(self) -> nn.Module:
        return self.trainer.evaluated if self.config.ecofed.server == "pooled" else self.back

    def held_out(self) -> Pool | None:
        return self.division.held_out()

    def kept_input(self, view: Samples, rows_B: np.ndarray) -> Tensor:
        return self.tensor(self._inputs(view, rows_B, None))

    def logits(self, x_NCHW: Tensor) -> Tensor:
        output: Tensor = self._trained(x_NCHW)
        return output

    def network(self) -> dict[str, np.ndarray]:
        """Front and back; running averages have become constants."""
        return state_arrays(self.front) | state_arrays(self._trained)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, trainer = self.trainer.state()
        arrays |= {f"buffer/{name}": array for name, array in self.buffer.state().items()}
        arrays["history"] = self.history.state()
        values = {
            "front_id": self.bundle.id,
            "trainer": trainer,
            "refresh": self.refresh.state(),
            "saturation_noted": self._saturation_noted,
            "installed": sorted(self._installed - self.history.past.keys()),
        }
        return arrays, values

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        kept: ReplayState = read_as(ReplayState, dict(values), "values")
        if kept.front_id != self.bundle.id:
            raise ValueError(f"it was made with front {kept.front_id}, not {self.bundle.id}")
        self.trainer.load_state(arrays, kept.trainer)
        self.refresh.load_state(kept.refresh)
        self._saturation_noted = kept.saturation_noted
        self.buffer.load_state(under("buffer/", arrays))
        for device in self.buffer.devices:
            for view in self.buffer.views_of(device).values():
                check_view(f"buffer/{device}", view, self.codec.row_bytes, self.context.task.classes)
        self.history.load_state(arrays["history"])
        for device in self.history.samples:
            self._own_labels(device)  # which a checkpoint of something else does not have
        self.counts.keep(self.history.samples)
        self.division.follow()
        # Devices may have lost the front meanwhile: it is sent again, as a retransmission.
        self._installed = {*kept.installed, *self.history.past}
        self._to_reinstall = set(self._installed)

    def keeping(self) -> Keeping | None:
        assert self.context.bundle is not None
        return Keeping(self.buffer, self.context.bundle, self.bundle.id, self.history.past, self.history.samples)
