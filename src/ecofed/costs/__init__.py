"""What a run costs: bytes (ledger) and time (clock), counted or foreseen."""
