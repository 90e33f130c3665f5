"""Settings for every test: the same examples each time, no time limit on one (machines are shared), and a Ctrl-C."""

import signal

from hypothesis import settings

settings.register_profile("ecofed", deadline=None, derandomize=True, database=None)
settings.load_profile("ecofed")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
