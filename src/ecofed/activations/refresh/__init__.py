"""Refresh policies, by the name that ``ecofed.refresh`` gives them."""

from ecofed.activations.refresh.base import RefreshPolicy, Uploads
from ecofed.activations.refresh.once import OneRefresh
from ecofed.activations.refresh.periodic import PeriodicRefresh
from ecofed.activations.refresh.plateau import PlateauRefresh
from ecofed.activations.refresh.spread import SpreadRefresh
from ecofed.config.methods import EcoFedConfig

__all__ = ["REFRESH_POLICIES", "RefreshPolicy", "Uploads", "make_refresh_policy"]

REFRESH_POLICIES: dict[str, type[RefreshPolicy]] = {
    "period": PeriodicRefresh,
    "once": OneRefresh,
    "spread": SpreadRefresh,
    "plateau": PlateauRefresh,
}


def make_refresh_policy(config: EcoFedConfig, rounds: int) -> RefreshPolicy:
    """The policy that ``ecofed.refresh`` names, for a run of so many rounds."""
    return REFRESH_POLICIES[config.refresh](config, rounds)
