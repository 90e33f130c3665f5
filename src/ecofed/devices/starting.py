"""A device's worker, with its own share of the training images and nothing of anybody else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ecofed.config.task import Task
from ecofed.data import Dataset, load_dataset, partition
from ecofed.data.reading import task_reading
from ecofed.data.stored import part_of
from ecofed.devices.account import Account
from ecofed.devices.local_data import LocalData
from ecofed.devices.local_images import class_numbers
from ecofed.devices.worker import DeviceWorker
from ecofed.errors import DataError


def make_worker(task: Task, dataset: Dataset, parts: list[np.ndarray], device: int, torch_device: str) -> DeviceWorker:
    """The worker of a device. ``parts``: training-set indices of every device."""
    own = parts[device]  # in memory a copy, so the worker does not keep the whole set alive
    train = dataset.train
    images_NHWC = part_of(train.images_NHWC, own)
    account = Account.simulated(task.config.seed, device)
    return DeviceWorker(task, LocalData(task, device, images_NHWC, train.labels_N[own], torch_device, account))


def load_worker(task: Task, device: int, torch_device: str) -> DeviceWorker:
    """The worker of a device that reads its data itself, in a process of its own.

    Raises:
        DataError: the data are missing, or are not what the server's task is about.
    """
    config = task.config
    torch.set_num_threads(config.threads)
    # The server reads the same, and tells what is left out.
    dataset = load_dataset(config.data.name, fallback=config.data.fallback, how=task_reading(task), note=lambda _: None)
    if dataset.channels != task.in_channels:
        raise DataError(
            f"{dataset.title} has {dataset.channels} channels here; the server's task has {task.in_channels}"
        )
    train = dataset.train
    numbers_K = class_numbers(dataset, task)
    dataset = replace(dataset, train=replace(train, labels_N=numbers_K[train.labels_N]))
    parts = partition(dataset.train.labels_N, config.devices, config.data, config.seed, train.device_N)
    return make_worker(task, dataset, parts, device, torch_device)
