"""The list of commands. A command's file is imported when somebody calls it or asks for its help, so that
``ecofed --help`` and completion need none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ecofed.cli.usage import one_line

#: In the order that ``ecofed --help`` lists them. A new command: one file ``cli/NAME.py`` with ``register(app)``, and
#: one entry here with the first paragraph of its help.
COMMANDS = {
    "run": "Train one method (the key 'method', default ecofed) and write its results.",
    "compare": "Train several methods on the same devices, data, model and seed, and put them side by side in one"
    " report.",
    "frontier": "Train ecofed at every combination of bits, views and front, and plot accuracy against the bytes of a"
    " device.",
    "plan": "Predict bytes, time, memory and energy of every method at every cut, and recommend settings. Nothing is"
    " trained.",
    "profile": "Measure this machine: inference, training, memory, the cost of a call.",
    "buffer": "List what a run keeps (keep_buffer=true): devices, classes, samples, bytes, and how old they are.",
    "retrain": "Train another back from a run's kept buffer (keep_buffer=true); no device is asked, and no byte moves.",
    "tune": "Search for settings on a run's kept buffer: learning rate, weight decay, schedule, averaged weights,"
    " label smoothing, mix-up, the head's width.",
    "update": "Ask devices for what is new since a run, and train on that and on what the run kept (keep_buffer=true).",
    "forget": "Delete what devices uploaded from a run's folder, and train its back anew, as if they had never sent"
    " it.",
    "audit": "Attack the very bytes that a configuration uploads, and tell what they give away.",
    "pretrain": "Pre-train a front on public images, freeze it, and write it as a bundle that 'ecofed run' takes.",
    "weights": "Convert a backbone's published weights into one safetensors file, for machines that cannot fetch them.",
    "evaluate": "Accuracy and loss of a trained network on all test images of a data set: in all, by class, by how sure"
    " it is.",
    "predict": "Name the most likely class of each image, with its probability.",
    "report": "Write report.html and the plots of results anew, and print their table.",
    "runs": "List the runs in a folder, the latest first: what ran, how far it came, accuracy and bytes.",
    "presets": "List the presets, print one as TOML to start your own file from, or list every configuration key.",
    "front": "List the shipped fronts, and check whether one suits your images.",
    "export": "Write a front, or a trained network, for devices without PyTorch.",
    "data": "List data sets and fetch them.",
    "fleet": "Set up a fleet of real devices over Flower, or try one on this machine.",
}


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\n\n".join([f"[bold]Example{'s' if len(lines) > 1 else ''}[/bold]", *lines])


def as_flags(parameters: Sequence[Any]) -> list[Any]:
    """Without ``<bool>`` beside options that take nothing, as Typer has it in its help: people would type a value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return list(parameters)


class Group(TyperGroup):
    """A command that has commands of its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        return as_flags(super().get_params(ctx))


class Commands(Group):
    """All commands, by name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast(Any, _Loaded())

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with one_line(COMMANDS):
            return super().make_context(*arguments, **options)

    def invoke(self, *arguments: Any, **options: Any) -> Any:
        with one_line(COMMANDS):
            return super().invoke(*arguments, **options)

    def format_help(self, *arguments: Any) -> None:
        with self._listed():
            super().format_help(*arguments)

    def shell_complete(self, *arguments: Any) -> Any:
        with self._listed():
            return super().shell_complete(*arguments)

    @contextmanager
    def _listed(self) -> Iterator[None]:
        """Inside, commands have a name and a line of help, and are not loaded for it."""
        loaded = self.commands
        self.commands = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}
        try:
            yield
        finally:
            self.commands = loaded


class _Loaded(Mapping[str, Any]):
    """Name -> command, which is imported when it is looked up."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._found:
            alone = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
            import_module(f"ecofed.cli.{name}").register(alone)
            group: Any = typer.main.get_group(alone)
            self._found[name] = group.commands[name]
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)
