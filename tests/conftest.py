"""Settings for every test: the same examples each time, no time limit on one (machines are shared), and a Ctrl-C."""

import os
import signal

from hypothesis import settings

# Tests run side by side, one process a core: more threads in each, or in what it starts, would only get in the way.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("ecofed", deadline=None, derandomize=True, database=None)
settings.load_profile("ecofed")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
