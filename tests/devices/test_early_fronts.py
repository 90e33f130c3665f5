"""The first part of a front and the rest of it make the whole front, whatever the network."""

from __future__ import annotations

import pytest
import torch
from front_builders import front_bundle, images

from ecofed.errors import ModelError
from ecofed.models import build_front, build_middle
from ecofed.pretraining.bundling import early_bundle
from ecofed.wire import FrontBundle
from ecofed.wire.sizes import bundle_size
from slowly import quick


@pytest.mark.parametrize("normalisation", quick(["frozen", "group", "batch"], "frozen", "batch"))
@pytest.mark.parametrize("narrow", [None, 4])
@pytest.mark.parametrize(("model", "cut"), [("vgg11", "block3"), ("resnet9", "block2"), ("lenet", "block2")])
def test_both_parts_make_the_whole(model: str, cut: str, narrow: int | None, normalisation: str) -> None:
    made_for = "frozen" if normalisation == "batch" else normalisation
    bundle = front_bundle(model, cut, 0.25, made_for, narrow=narrow)
    early = FrontBundle.decode(early_bundle(bundle, "block1", 8).encode())
    assert (early.cut, early.completed_to) == ("block1", cut)
    assert not [name for name in early.weights if "bottleneck" in name or "block2" in name]
    assert list(early.upper) == [8]
    x_NCHW = torch.from_numpy(images(7)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        first = build_front(early, normalisation)(x_NCHW)
        assert tuple(first.shape[1:]) == early.activation_shape
        completed = build_middle(bundle, "block1", normalisation)(first)
        assert torch.equal(completed, build_front(bundle, normalisation)(x_NCHW))


def test_an_early_front_is_another_front_and_as_long_as_foreseen() -> None:
    bundle = front_bundle("vgg11", "block2", 0.25, "frozen")
    early = early_bundle(bundle, "block1", None)
    assert early.id != bundle.id
    assert bundle_size(early) == len(early.encode()) < len(bundle.encode())
    rounded = early_bundle(bundle.with_int8_weights(), "block1", 4)
    assert rounded.int8
    assert bundle_size(rounded) == len(rounded.encode())
    # A front for all keeps the id that it had before fronts could stop early.
    assert b"completed_to" not in bundle.encode()


def test_what_does_not_come_before_the_cut_is_refused() -> None:
    bundle = front_bundle("vgg11", "block2", 0.25, "frozen")
    for name in ("block2", "block3"):
        with pytest.raises(ModelError, match="does not come before 'block2'"):
            build_middle(bundle, name, "frozen")
    with pytest.raises(ModelError, match="cannot cut"):
        build_middle(bundle, "nowhere", "frozen")
