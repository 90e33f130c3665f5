"""The parts of an audit, each finished on its own: a row of the table, and some pictures for the grid."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ecofed.auditing.decoder import Decoder, fit_decoder, pictures
from ecofed.auditing.eye import Seen, the_eye
from ecofed.auditing.likeness import psnr
from ecofed.auditing.recognising import Classifier, class_means, nearest_is_own, reidentified, similarity
from ecofed.auditing.target import Target
from ecofed.auditing.through_front import VARIATIONS, as_front, refined
from ecofed.auditing.uploads import Uploaded
from ecofed.auditing.weights import BATCHES, images_of, weights_task
from ecofed.config.methods import REFERENCE
from ecofed.data.jpeg import compress_images, decompress_images
from ecofed.randomness import permutation
from ecofed.results.audits import Leak

#: Of the attacked images, those that are shown; and those that are looked for through the front, which takes long.
SHOWN, SEARCHED = 12, 64
QUALITIES = (5, 10, 25, 50, 75, 90)
#: The quality of send-images' default.
USUAL_QUALITY = 75
#: The attack on what a method uploads that sends weights instead.
WEIGHTS = "weights"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attack, before it is made."""

    name: str
    title: str
    """The number of pairs goes before it where it begins with "pairs"."""
    pairs: int | None
    """``None``: all public images."""
    alike: bool = True
    knows_front: bool = False
    control: bool = False


#: An attacker who grows; then uploads that say nothing, where he must fail.
ATTEMPTS = (
    Attempt(name="black-box-128", title="pairs", pairs=128),
    Attempt(name="unlike-4096", title="pairs of other pictures", pairs=4096, alike=False),
    Attempt(name="black-box-4096", title="pairs", pairs=4096),
    Attempt(name="white-box", title="all public images, knows the front", pairs=None, knows_front=True),
    Attempt(name="control", title="control: uploads of other images", pairs=4096, control=True),
)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A row, and its pictures of the first attacked images: uint8 (SHOWN, H, W, C), or of none."""

    row: Leak
    shown_NHWC: np.ndarray


class Workbench:
    """What the steps of one audit share, made when the first of them needs it."""

    def __init__(self, target: Target, *, images: int, passes: int, unlike: str, seed: int) -> None:
        self.target = target
        self._images, self._passes, self._unlike, self.seed = images, passes, unlike, seed

    @cached_property
    def attacked(self) -> Uploaded:
        return self.target.attacked(self._images)

    @cached_property
    def originals(self) -> Tensor:
        """(N, C, S, S) in 0..1, as the network saw them."""
        return pictures(self.attacked.pixels_NHWC)

    @cached_property
    def _seen(self) -> Seen:
        return the_eye().look(self.originals)

    @cached_property
    def public(self) -> Uploaded:
        images_NHWC, labels_N, _ = self.target.alike()
        return self.target.pairs(images_NHWC, labels_N, "uploads of public images")

    @cached_property
    def other(self) -> tuple[Uploaded, str]:
        count = max((each.pairs or 0 for each in ATTEMPTS if not each.alike), default=0)
        images_NHWC, labels_N, title = self.target.other(self._unlike, count)
        return self.target.pairs(images_NHWC, labels_N, "uploads of other pictures"), title

    @cached_property
    def classifier(self) -> Classifier:
        images = pictures(self.public.pixels_NHWC[:2000])
        return Classifier(images, self.public.labels_N, self.target.prepared.task.classes)

    # --- attacks ---

    def attempt(self, attempt: Attempt) -> Finished:
        """Learn from pairs, then reconstruct what devices uploaded."""
        began = time.monotonic()
        whole, public = (self.public, self.target.prepared.dataset.title) if attempt.alike else self.other
        pairs = whole.part(np.arange(min(attempt.pairs or len(whole), len(whole))))
        attacked = self.attacked
        if attempt.control:
            pairs, attacked = (
                each.shuffled(permutation(self.seed, "audit-control", len(each))) for each in (pairs, attacked)
            )
        passes = 0 if attempt.control else self._passes
        title = f"{len(pairs):,} {attempt.title}" if attempt.title.startswith("pairs") else attempt.title
        what = f"inverting ({title})"
        decoder = fit_decoder(pairs, passes=passes, seed=self.seed, what=what)
        made, how = decoder.images(attacked), str(decoder)
        if attempt.knows_front:
            found = self._searched(decoder, made[:SEARCHED], what)
            if found is not None:
                return self._with_front(attempt, made, found, how, public, began, len(pairs))
        row = self._row(attempt.name, title, "control" if attempt.control else "attack", made, self.attacked)
        row = dataclasses.replace(
            row,
            knows_front=attempt.knows_front,
            pairs=len(pairs),
            public=public,
            how=how,
            bytes_per_image=self.attacked.bytes_per_image,
            seconds=time.monotonic() - began,
        )
        if attempt.knows_front:
            row = dataclasses.replace(row, reidentified=max(row.reidentified or 0.0, self._by_codes()))
        return Finished(row=row, shown_NHWC=_shown(made))

    def _with_front(
        self, attempt: Attempt, made: Tensor, found: Tensor, how: str, public: str, began: float, pairs: int
    ) -> Finished:
        """The row of an attack whose first reconstructions are better through the front: of these alone."""
        part = self.attacked.part(np.arange(len(found)))
        row = self._row(attempt.name, attempt.title, "attack", found, part)
        all_made = torch.cat([found, made[len(found) :]])
        whole = reidentified(all_made, the_eye().look(all_made), self.originals, self._seen)
        return Finished(
            row=dataclasses.replace(
                row,
                knows_front=True,
                pairs=pairs,
                public=public,
                how=f"{how}, then search through the front",
                bytes_per_image=self.attacked.bytes_per_image,
                reidentified=max(whole, self._by_codes()),
                seconds=time.monotonic() - began,
            ),
            shown_NHWC=_shown(found),
        )

    def _searched(self, decoder: Decoder, start: Tensor, what: str) -> Tensor | None:
        """Better reconstructions through the front; ``None`` where it helps none of the attacker's own images."""
        front = as_front(self.target.front, self.target.prepared.task.mean, self.target.prepared.task.std)
        own_N = decoder.held_out_N[: SEARCHED // 2]
        uploaded = decoder.pairs.uploaded
        wanted, images = torch.from_numpy(np.array(uploaded.decoded(own_N))), pictures(uploaded.pixels_NHWC[own_N])
        begin = decoder.images(uploaded, own_N)
        known = [
            (similarity(refined(front, begin, wanted, variation=each, what=what), images) or 0.0, each)
            for each in VARIATIONS
        ]
        best, variation = max(known)
        if best <= (similarity(begin, images) or 0.0):
            return None
        arrived = torch.from_numpy(np.array(self.attacked.decoded(slice(0, len(start)))))
        return refined(front, start, arrived, variation=variation, what=what)

    @torch.no_grad()
    def _by_codes(self) -> float:
        """Re-identification by who knows the front: candidates are run through it, and activations compared."""
        task = self.target.prepared.task
        front = as_front(self.target.front, task.mean, task.std)
        candidates = torch.cat([front(batch) for batch in torch.split(self.originals, 64)]).flatten(1)
        arrived = torch.from_numpy(np.array(self.attacked.decoded(slice(None)))).flatten(1)
        scale = candidates.std(dim=0) + 1e-3 * candidates.std() + 1e-8
        return nearest_is_own(arrived / scale, candidates / scale)

    def as_it_arrives(self) -> Finished:
        """Of a method that uploads the images themselves: nothing is to be attacked."""
        began = time.monotonic()
        made = torch.from_numpy(np.array(self.attacked.decoded(slice(None))))
        row = self._row("as-it-arrives", "the images themselves arrive", "attack", made, self.attacked)
        row = dataclasses.replace(
            row, how="none needed", bytes_per_image=self.attacked.bytes_per_image, seconds=time.monotonic() - began
        )
        return Finished(row=row, shown_NHWC=_shown(made))

    def weights(self, batch: int) -> Finished:
        """What a method gives away that sends weights instead: of some of the images, at 32 pixels."""
        began = time.monotonic()
        task, part = weights_task(self.target.prepared.task, batch), self.attacked.part(np.arange(BATCHES[batch]))
        images = self.originals[: len(part)]
        if images.shape[-1] != task.input_size:
            images = torch.nn.functional.interpolate(images, (task.input_size,) * 2, mode="area")
        found = images_of(task, _pixels(images), part.labels_N, self.seed)
        seen, own = the_eye().look(found.images_NCHW), the_eye().look(images)
        of = "one image" if batch == 1 else f"{batch} images"
        row = Leak(
            name=weights_name(batch),
            title=f"weights after a step on {of} ({REFERENCE}, {task.input_size} px)",
            kind="weights",
            knows_front=True,
            bytes_per_image=found.bytes_per_image,
            psnr=float(psnr(found.images_NCHW, images).mean()),
            ssim=similarity(found.images_NCHW, images),
            distance=float(seen.distance(own).mean()),
            images=len(part),
            how=f"inverted gradient of {task.config.model.name}; the label read off it in {found.labels_right} of "
            f"{len(part)} cases",
            seconds=time.monotonic() - began,
        )
        return Finished(row=row, shown_NHWC=_shown(found.images_NCHW))

    # --- what to hold it against ---

    def usual_jpeg(self) -> Finished:
        """What sending the images would give away."""
        title = f"sending the image (JPEG, quality {USUAL_QUALITY})"
        return self._reference("jpeg", title, *self._compressed(USUAL_QUALITY, None))

    def equal_jpeg(self) -> Finished:
        """The JPEG, of any size and quality, that is most like the image in no more bytes than the upload has."""
        side = self.originals.shape[-1]
        sizes = [size for size in (side, side // 2, side // 4, side // 8) if size >= 4]
        tried = [(quality, size) for size in sizes for quality in (1, 5, 10, 25, 50, 75, 90, 95)]
        known = [(self._compressed(*each), each) for each in tried]
        fitting = [each for each in known if each[0][1] <= self.attacked.bytes_per_image]
        (made, size), (quality, scaled) = max(
            fitting or [min(known, key=lambda each: each[0][1])],
            key=lambda each: float(psnr(each[0][0], self.originals).mean()),
        )
        title = f"JPEG of as many bytes ({scaled} px, quality {quality})"
        if not fitting:
            title = f"the smallest JPEG ({scaled} px, quality {quality})"
        return self._reference("jpeg-equal", title, made, size)

    def class_means(self) -> Finished:
        """What who knows the label alone could show."""
        images = pictures(self.public.pixels_NHWC)
        made = class_means(images, self.public.labels_N, self.attacked.labels_N)
        return self._reference("class-means", "the mean image of its class", made, 0.0)

    def curve(self, quality: int) -> Finished:
        """A JPEG of this quality, for the plot."""
        made = self._reference(f"jpeg-{quality}", f"JPEG, quality {quality}", *self._compressed(quality, None))
        return dataclasses.replace(made, row=dataclasses.replace(made.row, kind="curve"))

    def _compressed(self, quality: int, size: int | None) -> tuple[Tensor, float]:
        images_NHWC = self.attacked.pixels_NHWC
        batch = compress_images(images_NHWC, quality, size)
        side = images_NHWC.shape[1]
        made = pictures(decompress_images(batch, images_NHWC.shape[3], input_size=side))
        if made.shape[-1] != side:  # images of 28 pixels stay what they are
            pad = (side - made.shape[-1]) // 2
            made = torch.nn.functional.pad(made, (pad, pad, pad, pad))
        return made, len(batch.bodies) / len(images_NHWC)

    def _reference(self, name: str, title: str, made: Tensor, size: float) -> Finished:
        began = time.monotonic()
        row = self._row(name, title, "reference", made, self.attacked)
        row = dataclasses.replace(row, bytes_per_image=size, seconds=time.monotonic() - began)
        return Finished(row=row, shown_NHWC=_shown(made))

    def _row(self, name: str, title: str, kind: str, made: Tensor, of: Uploaded) -> Leak:
        images, seen, own = self.originals[: len(of)], the_eye().look(made), self._seen.first(len(of))
        return Leak(
            name=name,
            title=title,
            kind=kind,  # type: ignore[arg-type]
            psnr=float(psnr(made, images).mean()),
            ssim=similarity(made, images),
            distance=float(seen.distance(own).mean()),
            reidentified=reidentified(made, seen, images, own),
            recognised=self.classifier.accuracy(seen, of.labels_N),
            images=len(of),
        )

    def as_they_are(self) -> Finished:
        """The attacked images themselves, for the classifier and the grid."""
        return self._reference("originals", "the image", self.originals, 0.0)


def weights_name(batch: int) -> str:
    """Of the row about a step on so many images."""
    return WEIGHTS if batch == 1 else f"{WEIGHTS}-{batch}"


def _shown(made_NCHW: Tensor) -> np.ndarray:
    return _pixels(made_NCHW[:SHOWN])


def _pixels(made_NCHW: Tensor) -> np.ndarray:
    """uint8 (N, H, W, C)."""
    return np.asarray(np.rint(made_NCHW.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255), np.uint8)
