"""How long fronts are on their way where they are compressed: their numbers decide it, not their shapes alone."""

from __future__ import annotations

import dataclasses

from ecofed.config.methods import facts_of
from ecofed.config.schema import Config
from ecofed.costs.workload import Workload
from ecofed.pretraining.bundling import early_bundle
from ecofed.wire import FrontBundle


def with_compressed_fronts(work: Workload, whole: FrontBundle, config: Config) -> Workload:
    """The same with the lengths of what devices are sent of a compact front, or of its first part."""
    settings = config.ecofed
    bits = None if settings.lossless_early else settings.early_bits
    early = [
        one and dataclasses.replace(one, bundle_bytes=len(early_bundle(whole, one.cut, bits).encode()))
        for one in work.early
    ]
    sent = whole.for_device(facts_of(config.method).limits_sent(config, whole.upper)).encode()
    return dataclasses.replace(work, bundle_bytes=len(sent), early=early)
