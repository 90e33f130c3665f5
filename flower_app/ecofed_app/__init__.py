"""The Flower app; all of it is in the package ecofed.flower."""
