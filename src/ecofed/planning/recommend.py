"""Which cut, front, bits, period and views to start from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecofed.config.schema import Config
from ecofed.costs.profiles import Link
from ecofed.costs.rounds import Fleet
from ecofed.errors import ConfigError
from ecofed.planning.method_plan import MethodPlan
from ecofed.pretraining.resolve import starts_published


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """A front with a bottleneck that ships for this model."""

    name: str
    bytes_per_image: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Settings of ecofed, and why."""

    cut: str
    front: str | None = None
    """A shipped front; ``None``: as configured."""
    bits: int | None
    """``None``: as configured, with codec, refresh, period and views."""
    bytes_per_image: int | None = None
    """Of a backbone's codes; ``None``: as configured."""
    preinstalled: bool = False
    """Whether the front should come with the devices' software."""
    refresh: str
    period: int
    views: int
    early_cuts: Mapping[str, Sequence[str]]
    """Where devices of a profile should stop before the cut (``ecofed.device_cuts = auto``); empty: nowhere."""
    reasons: tuple[str, ...]

    @property
    def changes(self) -> dict[str, object]:
        """The configuration keys to set."""
        found: dict[str, object] = {"model.cut": self.cut}
        if self.front:
            found["front.name"] = self.front
        if self.bytes_per_image is not None:
            found["front.bytes_per_image"] = self.bytes_per_image
        if self.preinstalled:
            found["front.delivery"] = "preinstalled"
        if self.bits is None:
            return found | ({"ecofed.device_cuts": "auto"} if self.early_cuts else {})
        found |= {"codec.bits": self.bits, "ecofed.refresh": self.refresh}
        if self.refresh == "period":
            found["ecofed.period"] = self.period
        if self.views:
            found["ecofed.views"] = self.views
        if self.early_cuts:
            found["ecofed.device_cuts"] = "auto"
        return found


#: Without a bottleneck front: bits, refresh, period and views (0: unbounded), from the least to the most saving. Each
#: step costs some accuracy: four bits hardly any, a longer period and fewer views a few points, two bits a few more.
WIDE = ((4, "period", 2, 0), (4, "period", 4, 0), (4, "period", 4, 4), (4, "once", 1, 0), (2, "once", 1, 0))
#: A backbone's own codes: bytes an image, where those configured take too long.
SIZES = (512, 320, 160)
#: Devices stop early where that makes rounds at least this much shorter, and uploads at most so many times as large.
WORTHWHILE, MOST_GROWTH = 0.95, 4.0
#: Links may take this share of a round before bytes are saved.
LINK_SHARE = 0.5
#: Blocks after which a front is still general enough to be frozen; beyond, little is left to train.
MOST_FROZEN = 0.5

Planner = Callable[[Config, str, Fleet], MethodPlan]


def recommend(
    config: Config,
    fleet: Fleet,
    usual_cut: str,
    cuts: Mapping[str, float],
    plan: Planner,
    narrow: Sequence[Narrow] = (),
) -> Recommendation:
    """Settings for ecofed on this fleet.

    Args:
        config: the run; what is not recommended stays as it is.
        fleet: who takes part.
        usual_cut: taken wherever devices have the memory for it: shipped fronts end there.
        cuts: every cut, in order, with the share of the network's forward FLOPs before it.
        plan: plans ecofed with a configuration at a cut on a fleet.
        narrow: bottleneck fronts for the usual cut, from the most to the least bytes; one upload of their codes is
            worth as much as uploading a full-size front's codes over and over (docs/results.md).
    """
    cut, reason = _cut(config, fleet, usual_cut, cuts, plan)
    if starts_published(config):
        return _of_backbone(config, fleet, cut, reason, plan)
    usable = narrow if cut == usual_cut and config.front.name == "auto" else ()
    chosen, share = None, 1.0
    for best in [_one_upload(cut, front) for front in usable] or [_wide(cut, *step) for step in WIDE]:
        tried = config.replace(
            front__name=best.front or config.front.name,
            codec__name="uniform",
            codec__bits=best.bits,
            ecofed__refresh=best.refresh,
            ecofed__period=best.period,
            ecofed__views=best.views,
            ecofed__uplink_budget_bytes=None,
        )
        try:
            share = link_share(plan, tried, cut, fleet)
        except ConfigError:  # the configured front was made for other bits
            continue
        why = f"{best.reasons[0]}: links take {share:.0%} of the training"
        chosen = dataclasses.replace(best, reasons=(reason, why))
        if share <= LINK_SHARE:
            return _with_early_cuts(chosen, tried, fleet, plan)
    if chosen is None:
        own = config.ecofed
        kept = _wide(cut, config.codec.bits, own.refresh, own.period, own.views)
        return dataclasses.replace(kept, reasons=(reason, f"{kept.reasons[0]}: the front takes no other bits"))
    if usable:
        return chosen
    advice = "a front with a bottleneck sends less ('ecofed front list')"
    return dataclasses.replace(chosen, reasons=(*chosen.reasons, advice))


def _of_backbone(config: Config, fleet: Fleet, cut: str, reason: str, plan: Planner) -> Recommendation:
    """Its codes are made to measure: codec and refresh stay, the bytes an image are what can be changed."""
    configured = config.front.bytes_per_image
    chosen, tried, share = configured, config, 1.0
    for size in (configured, *(size for size in SIZES if size < configured)):
        chosen, tried = size, config.replace(front__bytes_per_image=size)
        share = link_share(plan, tried, cut, fleet)
        if share <= LINK_SHARE:
            break
    planned = plan(tried, cut, fleet)
    reasons = [reason, f"{chosen} B an image: links take {share:.0%} of the training"]
    delivered = planned.ledger.get("front", {}).get("downlink", 0)
    outweighs = delivered > planned.total_uplink_bytes
    if outweighs:
        reasons.append(
            f"fronts are {delivered / 1e6:,.2f} MB, all that devices send {planned.total_uplink_bytes / 1e6:,.2f} MB: "
            "install the front with their software"
        )
    own = config.ecofed
    best = Recommendation(
        cut=cut,
        bits=None,
        bytes_per_image=None if chosen == configured else chosen,
        preinstalled=outweighs,
        refresh=own.refresh,
        period=own.period,
        views=own.views,
        early_cuts={},
        reasons=tuple(reasons),
    )
    return _with_early_cuts(best, tried, fleet, plan)


def _one_upload(cut: str, front: Narrow) -> Recommendation:
    reason = f"{front.bytes_per_image} B an image at most, uploaded once in a device's life ({front.name})"
    return Recommendation(
        cut=cut, front=front.name, bits=front.bits, refresh="once", period=1, views=0, early_cuts={}, reasons=(reason,)
    )


def _wide(cut: str, bits: int, refresh: str, period: int, views: int) -> Recommendation:
    when = "one upload" if refresh == "once" else f"period {period}, views {views or 'unbounded'}"
    reason = f"{bits} bits, {when}"
    return Recommendation(
        cut=cut, bits=bits, refresh=refresh, period=period, views=views, early_cuts={}, reasons=(reason,)
    )


def _with_early_cuts(best: Recommendation, config: Config, fleet: Fleet, plan: Planner) -> Recommendation:
    """The same, with weak devices stopping early if that is worth it."""
    equal = len(set(fleet.devices)) == 1 and len(set(fleet.links)) == 1
    if config.ecofed.device_cuts is not None or equal:  # nobody is weaker than the others
        return best
    alike = plan(config, best.cut, fleet)
    own = plan(config.replace(ecofed__device_cuts="auto"), best.cut, fleet)
    if not own.early_cuts or own.seconds_per_round > WORTHWHILE * alike.seconds_per_round:
        return best
    if own.total_uplink_bytes > MOST_GROWTH * alike.total_uplink_bytes:
        return best
    stops = "; ".join(f"{name} at {', '.join(dict.fromkeys(cuts))}" for name, cuts in own.early_cuts.items())
    gain = 1 - own.seconds_per_round / alike.seconds_per_round
    grown = own.total_uplink_bytes / alike.total_uplink_bytes
    reason = f"weak devices stop early ({stops}): rounds are {gain:.0%} shorter, uploads {grown:.1f} times as large"
    return dataclasses.replace(best, early_cuts=own.early_cuts, reasons=(*best.reasons, reason))


def link_share(plan: Planner, config: Config, cut: str, fleet: Fleet) -> float:
    """The share of a round that would be saved by links without limits."""
    free = Link(
        name="free", title="free", uplink_bits_per_second=math.inf, downlink_bits_per_second=math.inf, latency_seconds=0
    )
    seconds = plan(config, cut, fleet).seconds_per_round
    unlimited = plan(config, cut, dataclasses.replace(fleet, links=[free])).seconds_per_round
    return 1 - unlimited / seconds if seconds else 0.0


def _cut(config: Config, fleet: Fleet, usual_cut: str, cuts: Mapping[str, float], plan: Planner) -> tuple[str, str]:
    plans = {cut: plan(config, cut, fleet) for cut in cuts}
    fitting = [cut for cut in cuts if not plans[cut].does_not_fit]
    if usual_cut in fitting:
        return usual_cut, f"{usual_cut}: fits every device, and the cut that shipped fronts are made for"
    if not fitting:
        least = min(cuts, key=lambda cut: plans[cut].peak_device_bytes)
        return least, f"{least}: needs the least memory, and still does not fit {', '.join(plans[least].does_not_fit)}"
    general = [cut for cut in fitting if cuts[cut] <= MOST_FROZEN] or fitting
    best = min(general, key=lambda cut: plans[cut].seconds_per_round)
    return best, f"{best}: the fastest cut that fits every device ({usual_cut} does not)"
