"""The methods: each is a program on the server, in one file that reads like its algorithm."""

from ecofed.config.registry import broken
from ecofed.config.registry import methods as plugin_methods
from ecofed.methods.base import Context, Method, RoundOutcome
from ecofed.methods.channel import Channel
from ecofed.methods.classic_fl import ClassicFL
from ecofed.methods.closed_form import ClosedForm
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.fedgkt import FedGKT
from ecofed.methods.lgl import LGL
from ecofed.methods.loop import Evaluator, sample_devices, train
from ecofed.methods.send_images import SendImagesMethod
from ecofed.methods.transport import Transport
from ecofed.methods.vanilla_dpfl import VanillaDPFL

METHOD_CLASSES: dict[str, type[Method]] = {
    cls.name: cls for cls in (ClassicFL, VanillaDPFL, LGL, FedGKT, EcoFed, SendImagesMethod, ClosedForm)
}


def method_class(name: str) -> type[Method]:
    """The class of a method, built in or of a plug-in; a configuration has checked the name.

    Raises:
        ConfigError: a plug-in has registered the facts of a method, and no method.
    """
    cls = METHOD_CLASSES.get(name) or plugin_methods()[name].cls
    if not issubclass(cls, Method):
        raise broken("method", name, "must be a subclass of ecofed.methods.Method")
    return cls


__all__ = [
    "LGL",
    "METHOD_CLASSES",
    "Channel",
    "ClassicFL",
    "ClosedForm",
    "Context",
    "EcoFed",
    "Evaluator",
    "FedGKT",
    "Method",
    "RoundOutcome",
    "SendImagesMethod",
    "Transport",
    "VanillaDPFL",
    "method_class",
    "sample_devices",
    "train",
]
