"""Learning again from what a run has kept, without asking any device: see docs/how-to/learn-again.md."""
