"""The data sets that EcoFed knows by name: one entry each.

Means and deviations are the constants that are customary in the literature for these sets.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = tuple("0123456789")

FASHION_MNIST = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """What is known about a data set before it is found."""

    title: str
    channels: int
    classes: tuple[str, ...] | None
    """``None``: the source names them."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    lossless: bool = True
    """Published losslessly, so a JPEG copy must be called one."""
    hub: tuple[str, str] | None = None
    """Repository and folder of its parquet files on the Hugging Face hub."""
    system_folder: str | None = None
    debian_package: str | None = None
    from_package: bool = False
    """Shipped in a Python package (scikit-learn)."""


KNOWN: dict[str, KnownSet] = {
    "fashion-mnist": KnownSet(
        title="Fashion-MNIST",
        channels=1,
        classes=FASHION_MNIST,
        mean=(0.2860,),
        std=(0.3530,),
        flip=True,
        hub=("zalando-datasets/fashion_mnist", "fashion_mnist"),
        system_folder="/usr/share/datasets/fashion-mnist",
        debian_package="dataset-fashion-mnist",
    ),
    "mnist": KnownSet(
        title="MNIST",
        channels=1,
        classes=DIGITS,
        mean=(0.1307,),
        std=(0.3081,),
        flip=False,
        hub=("ylecun/mnist", "mnist"),
    ),
    "cifar10": KnownSet(
        title="CIFAR-10",
        channels=3,
        classes=CIFAR10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        flip=True,
        hub=("uoft-cs/cifar10", "plain_text"),
    ),
    "cifar100": KnownSet(
        title="CIFAR-100",
        channels=3,
        classes=CIFAR100,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        flip=True,
        hub=("uoft-cs/cifar100", "cifar100"),
    ),
    "tiny-imagenet-32": KnownSet(
        title="Tiny-ImageNet (32x32)",
        channels=3,
        classes=None,
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        flip=True,
        lossless=False,
    ),
    "digits": KnownSet(
        title="Digits (scikit-learn)",
        channels=1,
        classes=DIGITS,
        mean=(0.5,),
        std=(0.5,),
        flip=False,
        from_package=True,
    ),
}
