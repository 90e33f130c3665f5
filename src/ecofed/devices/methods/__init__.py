"""The device's side of each built-in method. A device imports that of its own run."""
