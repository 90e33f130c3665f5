"""Running an ONNX file: one thread, one fixed way of computing, one line where ONNX Runtime is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.errors import MissingExtraError, ModelError
from ecofed.files.json_values import parse
from ecofed.files.reading import content_of


def require_runtime(purpose: str) -> None:
    """Raise :class:`MissingExtraError` where ONNX Runtime is not installed."""
    if find_spec("onnxruntime") is None:
        raise MissingExtraError("onnxruntime", "device", purpose)


class Session:
    """A network of one input and one output.

    Args:
        model: the content of an ONNX file.
        threads: of ONNX Runtime; results may depend on it in the last digit.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ModelError: not an ONNX network of one input and one output.
    """

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "device", "running an ONNX network") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            (self._input,) = (value.name for value in self._session.get_inputs())
            (self._output,) = (value.name for value in self._session.get_outputs())
        except Exception as error:  # the runtime raises classes of its own, without a common base
            raise ModelError(f"not a usable ONNX network ({_first_line(error)})") from error

    @classmethod
    def load(cls, path: Path) -> Session:
        """Open a file; the error names it."""
        try:
            return cls(content_of(path))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def __call__(self, x_NCHW: np.ndarray) -> np.ndarray:
        """One batch, float32 in and out.

        Raises:
            ModelError: the network does not take such a batch, or its parts do not fit each other.
        """
        try:
            output = np.asarray(self._session.run([self._output], {self._input: x_NCHW})[0])
        except Exception as error:  # as above
            raise ModelError(f"the ONNX network cannot run ({_first_line(error)})") from error
        if output.dtype != np.float32:
            raise ModelError(f"the ONNX network gives {output.dtype}, not float32")
        return output

    def description(self) -> dict[str, Any]:
        """What ecofed wrote into the file about it; empty for a file of another program."""
        try:
            return dict(parse(self._session.get_modelmeta().custom_metadata_map["ecofed"]))
        except (KeyError, ValueError, TypeError):
            return {}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
