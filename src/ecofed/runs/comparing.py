"""Of what several runs make sure before the first minute is spent: which they are, and where each of them lies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ecofed.config import Config, Settings
from ecofed.config.privacy import check_privacy
from ecofed.errors import ConfigError, EcoFedError
from ecofed.reports.files import RESULT_FILE, read_result
from ecofed.runs.preparation import check_validation


def runs_of(settings: Settings, methods: Sequence[str], seeds: Iterable[int]) -> list[Config]:
    """Each method with each seed; without seeds, with the one that the settings name.

    Raises:
        ConfigError: one of them is impossible.
    """
    configs = [settings.for_method(method) for method in methods]
    check_all(configs)
    numbers = _numbers(seeds)
    return [config.replace(seed=seed) for config in configs for seed in numbers] if numbers else configs


def check_all(configs: Iterable[Config]) -> None:
    """Raise :class:`ConfigError` for the first that could not be run, as far as settings tell."""
    for config in configs:
        check_validation(config)
        check_privacy(config)


def places_of(folder: Path, configs: Sequence[Config], *, resume: bool) -> list[Path]:
    """The folder of each run in that of a comparison: its method's, where there are several seeds with its seed.

    With ``resume`` a run that is finished stays where it is, although more seeds, or fewer, were asked for then.
    """
    several = len({config.seed for config in configs}) > 1
    return [_place(folder, config, several=several, resume=resume) for config in configs]


def _place(folder: Path, config: Config, *, several: bool, resume: bool) -> Path:
    alone, one_of_several = folder / config.method, folder / f"{config.method}-seed={config.seed}"
    usual, other = (one_of_several, alone) if several else (alone, one_of_several)
    if resume and _finished_seed(usual) != config.seed and _finished_seed(other) == config.seed:
        return other
    return usual


@contextlib.contextmanager
def told_what_is_kept(folder: Path, places: Sequence[Path], note: Callable[[str], None]) -> Iterator[None]:
    """Where one of several runs fails: which have come to their end before, which have not, and what can be done."""
    try:
        yield
    except EcoFedError:
        done = [place.name for place in places if (place / RESULT_FILE).is_file()]
        left = [place.name for place in places if place.name not in done]
        if done and left:
            note(
                f"finished and kept: {', '.join(done)}; not finished: {', '.join(left)}; 'ecofed report {folder}' shows"
                " what there is, the same command with --resume goes on"
            )
        raise


def _finished_seed(place: Path) -> int | None:
    """Of the run that came to its end there; what is no result is refused by whoever reads it for its figures."""
    with contextlib.suppress(EcoFedError):
        return read_result(place).seed if (place / RESULT_FILE).exists() else None
    return None


def _numbers(seeds: Iterable[int]) -> list[int]:
    """Each once. A word would else be taken for a list of its digits."""
    wrong = ConfigError(f"seeds = {seeds!r}: must be a list of whole numbers, such as [0, 1, 2]")
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        raise wrong
    numbers = list(seeds)
    if not all(hasattr(number, "__index__") and not isinstance(number, bool) for number in numbers):
        raise wrong
    return list(dict.fromkeys(int(number) for number in numbers))
