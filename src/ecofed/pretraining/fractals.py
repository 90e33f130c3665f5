"""Rendered fractals: labelled images for pre-training without data, download or licence.

A class is an iterated function system (IFS): two to five affine maps of the plane. An image is its attractor, drawn
by the chaos game with slightly perturbed maps, in random colours, turned and mirrored, over a random background.
After Kataoka et al., "Pre-training without natural images" (FractalDB), with the maps sampled by their singular values
as in Anderson and Farrell, "Improving fractal pre-training". Every draw is keyed, so an image depends on the
seed, its number and nothing else.

Shape legend: B images of a chunk, M maps, P points of an image, S side in pixels, C channels.
"""

from __future__ import annotations

import numpy as np

from ecofed.data import ImageSet
from ecofed.randomness import generator

_MAPS = 5
"""Most maps of a system; a system with fewer has maps of probability zero."""
_CHUNK = 256
"""Images drawn together. Part of the keys: another value gives other images."""
_PAINTED = 16
"""Of these, images painted at once; it changes none of them."""
_POINTS = 256
_SETTLE, _DRAW = 12, 14
"""Steps before points lie on the attractor, and steps whose points are drawn."""


def fractal_images(count: int, *, classes: int = 200, seed: int = 0, size: int = 32, channels: int = 3) -> ImageSet:
    """``count`` images of ``classes`` fractals (image i has label ``i % classes``), uint8 NHWC.

    About three thousand 32x32 images a second on one core.
    """
    systems = _systems(classes, seed)
    images_NSSC = np.empty((count, size, size, channels), np.uint8)
    for start in range(0, count, _CHUNK):
        labels_B = np.arange(start, start + _CHUNK) % classes
        chunk = _render(systems[labels_B], generator(seed, "fractal-images", sample=start), size, channels)
        images_NSSC[start : start + _CHUNK] = chunk[: count - start]
    return ImageSet(images_NSSC, np.arange(count, dtype=np.int64) % classes)


def _systems(classes: int, seed: int) -> np.ndarray:
    """Affine maps and their probabilities, float32 (classes, M, 7): a, b, c, d, e, f, p with x' = ax + by + e, ..."""
    systems = np.zeros((classes, _MAPS, 7), np.float32)
    for label in range(classes):
        rng = generator(seed, "fractal-system", sample=label)
        maps = int(rng.integers(2, _MAPS + 1))
        # Singular values with sum of (s1 + 2 s2) in the range where attractors are neither dust nor blobs.
        total = rng.uniform(0.5 * (5 + maps), 0.5 * (6 + maps))
        s1_M = rng.uniform(0.3, 1, maps)
        s2_M = s1_M * rng.uniform(0.1, 1, maps)
        scale = total / (s1_M + 2 * s2_M).sum()
        s1_M, s2_M = np.minimum(s1_M * scale, 0.9), np.minimum(s2_M * scale, 0.9)
        turn_M, pre_turn_M = rng.uniform(0, 2 * np.pi, (2, maps))
        mirror_M = rng.choice([-1.0, 1.0], maps)
        left, right = _rotation(turn_M), _rotation(pre_turn_M)
        middle = np.zeros((maps, 2, 2))
        middle[:, 0, 0], middle[:, 1, 1] = s1_M, s2_M * mirror_M
        linear = left @ middle @ right
        weight_M = np.maximum(np.abs(np.linalg.det(linear)), 0.02)
        systems[label, :maps, :4] = linear.reshape(maps, 4)
        systems[label, :maps, 4:6] = rng.uniform(-1, 1, (maps, 2))
        systems[label, :maps, 6] = weight_M / weight_M.sum()
    return systems


def _rotation(angle_N: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle_N), np.sin(angle_N)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _render(systems_BM7: np.ndarray, rng: np.random.Generator, size: int, channels: int) -> np.ndarray:
    """Images uint8 (B, S, S, C) of perturbed systems."""
    count = len(systems_BM7)
    maps_BM6 = systems_BM7[:, :, :6] * rng.uniform(0.9, 1.1, (count, _MAPS, 6)).astype(np.float32)
    points, hues = _chaos_game(maps_BM6, systems_BM7[:, :, 6], rng)
    pixel, inside = _pixels(points, rng, size)
    density, hue = _histogram(pixel, inside, hues, count, size)
    return _paint(density, hue, rng, channels)


def _chaos_game(
    maps_BM6: np.ndarray, probability_BM: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the attractors (steps, 2, B, P), and a hue in 0..1 of each (steps, B, P) that tells its last maps."""
    count = len(maps_BM6)
    bounds_BM = np.cumsum(probability_BM, axis=1)
    flat = maps_BM6.reshape(count * _MAPS, 6)
    first_B1 = (np.arange(count) * _MAPS)[:, None]
    x_BP, y_BP, hue_BP = rng.uniform(-1, 1, (3, count, _POINTS)).astype(np.float32)
    points = np.empty((_DRAW, 2, count, _POINTS), np.float32)
    hues = np.empty((_DRAW, count, _POINTS), np.float32)
    for step in range(-_SETTLE, _DRAW):
        draw_BP = rng.random((count, _POINTS), dtype=np.float32)
        chosen_BP = np.zeros(draw_BP.shape, np.int64)
        for m in range(_MAPS - 1):
            chosen_BP += draw_BP > bounds_BM[:, m, None]
        a, b, c, d, e, f = np.moveaxis(flat[first_B1 + chosen_BP], -1, 0)
        x_BP, y_BP = a * x_BP + b * y_BP + e, c * x_BP + d * y_BP + f
        # Perturbed maps may not contract; points that run away are caught here.
        x_BP, y_BP = np.clip(x_BP, -1e3, 1e3), np.clip(y_BP, -1e3, 1e3)
        hue_BP = (hue_BP + chosen_BP.astype(np.float32) / (_MAPS - 1)) / 2
        if step >= 0:
            points[step, 0], points[step, 1], hues[step] = x_BP, y_BP, hue_BP
    return points, hues


def _pixels(points: np.ndarray, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn, mirror, centre and scale; the pixel number of each point (steps, B, P), and whether it is in view."""
    count = points.shape[2]
    centre = points.mean(axis=(0, 3), keepdims=True)
    spread = points.std(axis=(0, 3), keepdims=True) + 1e-3
    points = (points - centre) / spread / rng.uniform(1.6, 2.4, (count, 1)).astype(np.float32)
    turn = _rotation(rng.uniform(-0.5, 0.5, (count,))).astype(np.float32)
    turn[:, 0] *= rng.choice([-1.0, 1.0], (count, 1)).astype(np.float32)
    shift = rng.uniform(-0.25, 0.25, (2, count, 1)).astype(np.float32)
    x = turn[:, 0, 0, None] * points[:, 0] + turn[:, 0, 1, None] * points[:, 1] + shift[0]
    y = turn[:, 1, 0, None] * points[:, 0] + turn[:, 1, 1, None] * points[:, 1] + shift[1]
    column = ((x + 1) * (size / 2)).astype(np.int64)
    row = ((y + 1) * (size / 2)).astype(np.int64)
    inside = (x >= -1) & (x < 1) & (y >= -1) & (y < 1)
    return row * size + column, inside


def _histogram(
    pixel: np.ndarray, inside: np.ndarray, hues: np.ndarray, count: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Density in 0..1 (log scale) and mean hue of each pixel, both (B, S, S)."""
    area = size * size
    where = (pixel + (np.arange(count) * area)[:, None])[inside]
    hits = np.bincount(where, minlength=count * area)
    hue = np.bincount(where, weights=hues[inside], minlength=count * area) / np.maximum(hits, 1)
    density = np.log1p(hits).reshape(count, area)
    density /= np.maximum(density.max(axis=1, keepdims=True), 1)
    return density.reshape(count, size, size), hue.reshape(count, size, size)


def _paint(density: np.ndarray, hue: np.ndarray, rng: np.random.Generator, channels: int) -> np.ndarray:
    """Blend two colours by hue over a background of two other colours, by density."""
    count, size, _ = density.shape
    corners = rng.uniform(0, 1, (4, count, 1, 1, channels))
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    axis = np.linspace(-0.7, 0.7, size)
    slope = np.clip(0.5 + np.cos(angle) * axis[None, None, :] + np.sin(angle) * axis[None, :, None], 0, 1)[..., None]
    images = np.empty((count, size, size, channels), np.uint8)
    for at in range(0, count, _PAINTED):  # the same numbers in the same order, in less memory
        some = slice(at, at + _PAINTED)
        background = corners[0, some] * slope[some] + corners[1, some] * (1 - slope[some])
        shape = corners[2, some] * hue[some, ..., None] + corners[3, some] * (1 - hue[some, ..., None])
        cover = np.sqrt(density[some])[..., None]
        grain = rng.normal(0, 0.02, background.shape)
        image = background * (1 - cover) + shape * cover + grain
        images[some] = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return images
