"""The rival that every sceptic names: why not send the pictures?

In the first round that samples it a device sends its images, as JPEG, and their labels. The server trains the whole
network on all images it has, with the same number of steps, and with augmentation of the pixels themselves. What it
costs is privacy: images and labels leave the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ecofed.activations import Division, Pool, ReplayBuffer, Samples, View
from ecofed.config.methods import SendImagesFacts
from ecofed.config.schema import Config
from ecofed.costs.agenda import OnceAgenda
from ecofed.costs.steps import Step, Stop, labels
from ecofed.costs.workload import Segment, Workload
from ecofed.data import to_input
from ecofed.data.jpeg import JpegBatch, compress_images, decompress_images, received_size
from ecofed.data.preparing import as_received
from ecofed.data.transforms import Views
from ecofed.errors import WireError
from ecofed.methods.base import Context, Method, RoundOutcome, under
from ecofed.methods.pooled import PooledTrainer, has_running_statistics
from ecofed.models import set_normalisation, state_arrays
from ecofed.wire import Images, SendImages
from ecofed.wire.sizes import ArrayShape

#: Where the server does not know how many images a device has: so many bytes of pixels and headers are free, and each
#: byte that arrives stands for so many more. Ordinary images have ten times their size as JPEG.
FREE_BYTES, MOST_BYTES_A_BYTE = 8 << 20, 40


class SendImagesAgenda(OnceAgenda):
    """The server trains in every round, on the images that it has."""

    def needs_front(self, device: int) -> bool:  # noqa: ARG002
        return False

    def server_steps(self, round_: int, sampled: Sequence[int], answered: Sequence[int]) -> int:  # noqa: ARG002
        known = [device for device in sampled if device in self.kept()]
        settings = self.config.send_images
        steps = settings.steps((self.trained[device] for device in known), self.config.batch_size)
        return (settings.server_steps or steps) if self.kept() else 0


class SendImagesMethod(SendImagesFacts, Method):
    """Images up once, nothing else."""

    agenda = SendImagesAgenda

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = self.config.send_images
        if has_running_statistics(context, self._settings):
            for half in (self.model, self.halves.front, self.halves.back):
                set_normalisation(half, "running")
        self.buffer = ReplayBuffer("images", views_kept=1)
        self.division = Division(self.buffer, self.config)
        self.trainer = PooledTrainer(
            self.model, self._inputs, context.task, self._settings, torch_device=context.torch_device
        )
        self._sent_size = (self._settings.size,) * 2 if self._settings.size else context.image_size
        """Height and width of the images on their way: every device's data are prepared in the same way."""
        self._size = received_size(self._sent_size, context.task.input_size)

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        asked = [device for device in sampled if not self.buffer.views_of(device)]
        request = SendImages(round=round_, quality=self._settings.quality, size=self._settings.size or 0)
        # All of them first: a round below the quorum leaves no trace.
        settled = len(sampled) - len(asked)
        for device, view in list(self.channel.broadcast(asked, request, Images, self._opened, settled=settled)):
            self.buffer.put(device, 0, view, "images")
        known = [device for device in sampled if self.buffer.views_of(device)]
        if not self.division.devices:
            return RoundOutcome(trained=False, notes=[self.division.nothing("no images have arrived")])
        sizes = [len(self.division.latest(device)) for device in known]
        steps = self._settings.server_steps or self._settings.steps(sizes, self.config.batch_size)
        pool = self.division.pool()
        loss = self.trainer.train(round_, pool, pool.device_N, steps) if steps else None
        return RoundOutcome(train_loss=loss, trained=loss is not None, server_steps=steps)

    def _opened(self, device: int, reply: Images) -> View:
        # Counts first, pictures last: a few bytes of header and many empty bodies are many pictures.
        count, channels = len(reply.lengths_N), self.context.task.in_channels
        self.counts.check(device, count)
        if len(reply.labels_N) != count:
            raise WireError(f"{len(reply.labels_N)} labels for {count} images")
        labels_N = self.labels(reply.labels_N).cpu().numpy()
        row_bytes = math.prod(self._size) * channels
        received = len(reply.header) + len(reply.bodies)
        work = count * (len(reply.header) + row_bytes)
        if not self.counts.known and work > FREE_BYTES + MOST_BYTES_A_BYTE * received:
            raise WireError(f"{count} images in {received} bytes")
        batch = JpegBatch(header=reply.header, bodies=reply.bodies, lengths_N=reply.lengths_N)
        side = self.context.task.input_size
        images_NHWC = decompress_images(batch, channels, self._sent_size, input_size=side)
        if count and images_NHWC.shape[1:3] != self._size:
            raise WireError(f"images of {images_NHWC.shape[1:3]} pixels where others sent {self._size}")
        return View(
            rows=images_NHWC.reshape(count, row_bytes),
            scale_N=np.empty(0, np.float32),
            sample_N=np.arange(count),
            labels_N=labels_N,
        )

    def _inputs(self, view: Samples, rows_B: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """Pixels of these rows as network input, with a fresh crop and mirror image."""
        task = self.context.task
        images_BHWC = view.rows[rows_B].reshape(len(rows_B), *self._size, task.in_channels)
        if self.config.data.augment and random is not None:
            number = int(random.integers(1 << 32))
            images_BHWC = Views.of(task, -1)(images_BHWC, np.arange(len(rows_B)), number)
        return to_input(images_BHWC, task.mean, task.std, task.input_size)

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:  # noqa: ARG003
        one = cls.kept_row_bytes(work) if work.sent_row_bytes is None else work.sent_row_bytes
        yield Step(
            request=SendImages,
            reply=Images,
            up={
                "header": 0,  # what all images share is counted with them
                "bodies": round(stop.samples * one),
                "lengths_N": ArrayShape((stop.samples,), "u2"),
                "labels_N": labels(work, stop.samples),
            },
        )

    @classmethod
    def tried_row_bytes(cls, config: Config, images_NHWC: np.ndarray, samples: int) -> float | None:
        batch = compress_images(images_NHWC, config.send_images.quality, config.send_images.size)
        # Each device sends its images' common header once.
        return len(batch.bodies) / len(images_NHWC) + len(batch.header) / samples

    @classmethod
    def pooled_part(cls, work: Workload) -> Segment:
        return work.whole

    @classmethod
    def kept_row_bytes(cls, work: Workload) -> int:
        return work.whole.layers[0].input_entries

    # --- the network, and what a resumed run needs ---

    def test_input(self, x_NCHW: Tensor) -> Tensor:
        """Test images are compressed as training images are: a network learns the look of its images."""
        task, (height, width) = self.context.task, self.context.image_size
        mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (task.mean, task.std))
        pixels_NCHW = np.rint((x_NCHW.cpu().numpy() * std + mean) * 255).clip(0, 255).astype(np.uint8)
        top, left = (task.input_size - height) // 2, (task.input_size - width) // 2
        images_NHWC = pixels_NCHW.transpose(0, 2, 3, 1)[:, top : top + height, left : left + width]
        received_NHWC = as_received(
            np.ascontiguousarray(images_NHWC), self._settings.quality, self._settings.size, task.input_size
        )
        return self.tensor(to_input(received_NHWC, task.mean, task.std, task.input_size))

    def held_out(self) -> Pool | None:
        return self.division.held_out()

    def kept_input(self, view: Samples, rows_B: np.ndarray) -> Tensor:
        return self.tensor(self._inputs(view, rows_B, None))

    def logits(self, x_NCHW: Tensor) -> Tensor:
        output: Tensor = self.trainer.evaluated(x_NCHW)
        return output

    def told_labels(self, device: int) -> np.ndarray | None:
        return self.buffer.told_labels(device, self.context.task.classes)

    def network(self) -> dict[str, np.ndarray]:
        return state_arrays(self.trainer.evaluated)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = self.trainer.state()
        arrays |= {f"buffer/{name}": array for name, array in self.buffer.state().items()}
        return arrays, {"trainer": values, "size": self._size}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        self.trainer.load_state(arrays, values["trainer"])
        self.buffer.load_state(under("buffer/", arrays))
        if values["size"] not in (None, list(self._size)):
            raise ValueError(f"its images have {values['size']} pixels, not {list(self._size)}")
