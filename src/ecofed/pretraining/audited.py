"""What audits of shipped fronts found (``audited.json``, written by ``benchmarks/audit.py``)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ecofed.files.json_values import Count, Fraction, Ordinal, parse, read_as
from ecofed.results.audits import Similarity

SCHEMA = "ecofed-audited/1"


@dataclass(frozen=True, kw_only=True)
class AuditedFront:
    """Of the strongest attack on a front's codes."""

    name: str
    """Of the front."""
    front: str
    """Its id."""
    bits: Ordinal
    data: str
    ssim: Similarity
    reidentified: Fraction
    images: Count
    """How many were attacked."""
    command: str
    commit: str

    def __str__(self) -> str:
        return (
            f"audited on {self.data}: from {self.bits}-bit codes of this front an attacker who knows it makes images "
            f"of SSIM {self.ssim:.2f}, and tells which of {self.images} images it is in {self.reidentified:.0%} of "
            "cases ('ecofed audit' tries your images)"
        )


@dataclass(frozen=True, kw_only=True)
class _File:
    schema: str
    fronts: list[AuditedFront]


def audited_front(front: str, bits: int) -> AuditedFront | None:
    """What is known of a front, by its name or id, at so many bits."""
    return next((one for one in _all() if front in (one.name, one.front) and one.bits == bits), None)


@lru_cache(maxsize=1)
def _all() -> tuple[AuditedFront, ...]:
    text = resources.files("ecofed.pretraining").joinpath("audited.json").read_text(encoding="utf-8")
    found: _File = read_as(_File, parse(text))
    assert found.schema == SCHEMA
    return tuple(found.fronts)
