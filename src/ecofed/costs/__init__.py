"""What a run costs: bytes (ledger) and time (clock), counted or foreseen."""

from ecofed.costs.availability import Availability
from ecofed.costs.clock import Clock, RoundTime
from ecofed.costs.exchange import Exchange
from ecofed.costs.ledger import Ledger

__all__ = ["Availability", "Clock", "Exchange", "Ledger", "RoundTime"]
