"""Settings for every test: the same examples each time, and no time limit on one (machines are shared)."""

from hypothesis import settings

settings.register_profile("ecofed", deadline=None, derandomize=True, database=None)
settings.load_profile("ecofed")
