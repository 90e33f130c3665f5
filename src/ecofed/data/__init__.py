"""Data: sources, partitions over devices, transforms. numpy only."""

from ecofed.data.dataset import (
    Dataset,
    ImageSet,
    compressed_sizes,
    compressed_upload_bytes,
    raw_bytes,
    require_classes,
    require_test,
)
from ecofed.data.fetching import fetch
from ecofed.data.formats.own import Pictures
from ecofed.data.loading import list_datasets, load_dataset
from ecofed.data.partitions import label_counts, mixed_order, partition, test_indices
from ecofed.data.transforms import augment, to_input

__all__ = [
    "Dataset",
    "ImageSet",
    "Pictures",
    "augment",
    "compressed_sizes",
    "compressed_upload_bytes",
    "fetch",
    "label_counts",
    "list_datasets",
    "load_dataset",
    "mixed_order",
    "partition",
    "raw_bytes",
    "require_classes",
    "require_test",
    "test_indices",
    "to_input",
]
