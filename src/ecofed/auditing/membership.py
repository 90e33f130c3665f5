"""Whether an image took part: asked of the trained network, and of the buffer that a run keeps.

Of the network by the loss: images that it was trained on have a smaller one ("Privacy risk in machine learning", Yeom
et al., 2018). Of the buffer by who knows the front: the image is run through it, shifted and mirrored as the first view
of a device may be, and the nearest activation in the buffer is looked for. Images that took part are a sample of those:
of the network what it was trained on, by the buffer or by the run's record of who took part in which round. The others
are test images, which never do. Where it is not known who took part, the audit says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ecofed.activations import configured_codec
from ecofed.auditing.target import Target
from ecofed.config.held_out import held_out
from ecofed.config.task import Task
from ecofed.data import mixed_order, to_input
from ecofed.data.transforms import PADDING, centre
from ecofed.errors import ModelError
from ecofed.models import build_front
from ecofed.randomness import generator, permutation
from ecofed.results.audits import Membership, false_alarms
from ecofed.runs.kept_buffer import KeptBuffer, holds_buffer, open_buffer
from ecofed.runs.run_folder import MODEL_FILE
from ecofed.runs.saved_model import load_model
from ecofed.slow_work import counted

#: Images of each kind, asked of the network and of the buffer.
OF_NETWORK, OF_BUFFER = 2000, 100
#: Rows of a buffer that are looked through, and numbers that a row is projected to: distances stay about the same.
MOST_ROWS, PROJECTED = 10_000, 128
_AT_ONCE = 250
_ELSEWHERE = "the run's devices brought images of their own, which are not here"


def from_network(target: Target, seed: int) -> Membership:
    """Of the run's trained network."""
    if target.run is None:
        return _not("network", "nothing has been trained: audit a run's folder")
    if not (target.run / MODEL_FILE).is_file():
        return _not("network", "the run has no trained network")
    dataset = target.prepared.dataset
    if dataset.test is None:
        return _not("network", "the data have no test images, which stand for those that took no part")
    took_N = _trained_on(target)
    if isinstance(took_N, str):
        return _not("network", took_N)
    took_N = np.sort(took_N[permutation(seed, "audit-members", len(took_N))[:OF_NETWORK]])
    other_N = np.sort(mixed_order(len(dataset.test))[:OF_NETWORK])
    network = load_model(target.run)

    def scores(images_NHWC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        losses = []
        starts = range(0, len(labels_N), _AT_ONCE)
        for at in counted(starts, len(starts), "asking the network who took part"):
            logits = network.logits(images_NHWC[at : at + _AT_ONCE])
            labels = torch.from_numpy(labels_N[at : at + _AT_ONCE].astype(np.int64))
            losses.append(F.cross_entropy(logits, labels, reduction="none").numpy())
        return -np.concatenate(losses)

    try:
        members = scores(dataset.train.images_NHWC[took_N], dataset.train.labels_N[took_N])
        others = scores(dataset.test.images_NHWC[other_N], dataset.test.labels_N[other_N])
    except ModelError as error:
        return _not("network", str(error))
    return told_apart("network", members, others)


def from_buffer(target: Target, seed: int) -> Membership:
    """Of the buffer that the run keeps."""
    if target.run is None or not holds_buffer(target.run):
        return _not("buffer", "no buffer is kept (keep_buffer=true keeps one)")
    if _brought_their_own(target):
        return _not("buffer", _ELSEWHERE)
    kept = open_buffer(target.run)
    dataset, task = target.prepared.dataset, target.prepared.task
    if dataset.test is None:
        return _not("buffer", "the data have no test images, which stand for those that took no part")
    rng = generator(seed, "audit-projection")
    shape_CHW = kept.origin.bundle.activation_shape
    projection = rng.standard_normal((int(np.prod(shape_CHW)), PROJECTED)).astype(np.float32) / PROJECTED**0.5
    rows_MP, took_N = _buffered(kept, target, projection)
    took_N = took_N[permutation(seed, "audit-buffered", len(took_N))[:OF_BUFFER]]
    other_N = mixed_order(len(dataset.test))[: len(took_N)]
    front = build_front(kept.origin.bundle.for_device(target.config.codec.limit_bits), target.config.normalisation)
    if not len(took_N):
        return _not("buffer", "the buffer holds nothing of the run's training images")

    def scores(images_NHWC: np.ndarray) -> np.ndarray:
        found = []
        for number in counted(range(len(images_NHWC)), len(images_NHWC), "asking the buffer who took part"):
            own_VP = _projected(front, np.concatenate(list(_views(task, images_NHWC[number]))), task, projection)
            distance_VM = torch.cdist(torch.from_numpy(own_VP), torch.from_numpy(rows_MP))
            found.append(-float(distance_VM.min()) / float(np.linalg.norm(own_VP, axis=1).mean() + 1e-9))
        return np.array(found)

    members, others = scores(dataset.train.images_NHWC[took_N]), scores(dataset.test.images_NHWC[other_N])
    return told_apart("buffer", members, others)


def told_apart(of: str, members: np.ndarray, others: np.ndarray) -> Membership:
    """How well scores, larger for members, tell them from others."""
    both = np.concatenate([members, others])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # ties share theirs
    m, n = len(members), len(others)
    area = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    # The threshold that at most one other in a hundred passes.
    threshold = np.sort(others)[::-1][false_alarms(n)]
    return Membership(
        of=of,
        available=True,
        auc=float(area),
        tpr_at_1_percent_fpr=float((members > threshold).mean()),
        members=m,
        others=n,
    )


def _not(of: str, why: str) -> Membership:
    return Membership(of=of, available=False, why_not=why)


def _brought_their_own(target: Target) -> bool:
    """Whether the run's devices had their images before it began: then nobody here knows which these are."""
    inputs = {} if target.result is None else target.result.inputs
    return bool(inputs) and "training pictures" not in inputs


def _trained_on(target: Target) -> np.ndarray | str:
    """The training images that the run's network has learned from, once each; or why they are not known.

    Not all: some devices are never drawn, reached or asked, and some samples the server holds out.
    """
    assert target.run is not None
    assert target.result is not None
    if holds_buffer(target.run):
        if _brought_their_own(target):
            return _ELSEWHERE
        kept = open_buffer(target.run).buffer
        sample_N = {
            device: np.unique(np.concatenate([view.sample_N for view in kept.views_of(device).values()]))
            for device in kept.devices
        }
    elif target.result.origin is not None:
        return "it learned from what another run had kept: audit that one"
    elif _brought_their_own(target):
        return _ELSEWHERE
    else:
        rounds = [record.took_part for record in target.result.rounds]
        if None in rounds:
            return "the run is of a version that did not record who took part in which round"
        devices = sorted({device for took_part in rounds for device in took_part or ()})
        sample_N = {device: np.arange(len(target.prepared.parts[device])) for device in devices}
    if target.config.validation.on_server:
        sample_N = {device: own[~held_out(target.config, device, own)] for device, own in sample_N.items()}
    images = [target.samples_of(device)[own] for device, own in sample_N.items()]
    return np.concatenate(images) if sum(map(len, images)) else "no device took part"


def _buffered(kept: KeptBuffer, target: Target, projection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the buffer, projected (M, P), and the training images that they are of, once each."""
    settings, bundle = target.config.codec, kept.origin.bundle
    codec = configured_codec(settings, bundle.activation_shape, bundle.upper.get(settings.bits))
    rows, images, total = [], [], 0
    for device in kept.buffer.devices:
        own_N = target.samples_of(device)
        for view in kept.buffer.views_of(device).values():
            for at in range(0, len(view), _AT_ONCE):
                which_B = np.arange(at, min(at + _AT_ONCE, len(view)))
                scale_B = view.scale_N[which_B] if len(view.scale_N) else None
                rows.append(codec.decode(view.rows[which_B], scale_B).reshape(len(which_B), -1) @ projection)
            images.append(own_N[view.sample_N])
            total += len(view)
        if total >= MOST_ROWS:
            break
    return np.concatenate(rows), np.unique(np.concatenate(images))


def _projected(front: nn.Module, images_NHWC: np.ndarray, task: Task, projection: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        h = front(torch.from_numpy(to_input(images_NHWC, task.mean, task.std, task.input_size)))
    found: np.ndarray = h.flatten(1).numpy() @ projection
    return found


def _views(task: Task, image_HWC: np.ndarray) -> Iterator[np.ndarray]:
    """What a device's first view of an image may be, (1, H, W, C) each."""
    if task.cover:
        yield centre(image_HWC[None], task.input_size)
        return
    if not task.config.data.augment:
        yield image_HWC[None]
        return
    height, width = image_HWC.shape[:2]
    padded = np.pad(image_HWC, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    for top in range(2 * PADDING + 1):
        for left in range(2 * PADDING + 1):
            view = padded[top : top + height, left : left + width]
            yield view[None]
            if task.flip:
                yield view[None, :, ::-1]
