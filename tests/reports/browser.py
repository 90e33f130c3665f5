"""A headless Chromium, driven over a pipe by its own protocol (https://chromedevtools.github.io/devtools-protocol/).

Only the standard library is needed. ``--remote-debugging-pipe`` reads messages at file descriptor 3 and answers at 4,
each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 60


def find_browser() -> str | None:
    """The first browser that is installed, or the one that ``ECOFED_BROWSER`` names."""
    return os.environ.get("ECOFED_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


class Page:
    """One tab."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in, self._rest, self._number = to_browser, from_browser, b"", 0
        self._session: str | None = None
        self.said: list[str] = []
        """Everything on the console, exceptions and refused contents."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(
        self, file: Path, *, width: int = 1200, height: int = 900, dark: bool = False, scripts: bool = True
    ) -> None:
        """Load a file and wait until it stands there."""
        self.value("location.protocol === 'file:' && sessionStorage.clear()")  # what was chosen on an earlier page
        self.said.clear()
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.resize(width, height)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[theme])
        self._loaded = False
        self.ask("Page.navigate", url=file.resolve().as_uri())
        self.wait()

    def wait(self) -> None:
        """Until the next page stands there."""
        while not self._loaded:
            self._next()
        self._loaded = False

    def resize(self, width: int, height: int) -> None:
        """The window's size in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def centre(self, selector: str) -> tuple[float, float]:
        """Where an element is, once it is in view."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def mouse(self, kind: str, x: float, y: float, *, clicks: int = 0, **more: Any) -> None:
        """``mouseMoved``, ``mousePressed``, ``mouseReleased`` or ``mouseWheel``."""
        button = "left" if clicks or more.get("buttons") else "none"
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=clicks, **more)

    def click(self, selector: str, *, times: int = 1) -> None:
        """With the mouse, in the element's middle."""
        x, y = self.centre(selector)
        for clicks in range(1, times + 1):
            self.mouse("mousePressed", x, y, clicks=clicks, buttons=1)
            self.mouse("mouseReleased", x, y, clicks=clicks)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """What is seen, or the whole page, as PNG."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            read = os.read(self._in, 1 << 20)
            assert read, "the browser has ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.said.append(json.dumps(message["params"]))
        return message


@contextmanager
def browsing(profile: Path, browser: str) -> Iterator[Page]:
    """A tab of a browser of its own, which ends with the block; ``profile`` is a folder for its files."""
    (child_in, to_browser), (from_browser, child_out) = os.pipe(), os.pipe()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--remote-debugging-pipe",
    ]
    # Python in between gives the pipes the numbers that the browser expects.
    renumber = (
        "import os, sys; a, b = (os.dup(os.dup(int(n))) for n in sys.argv[1:3]); "
        "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
    )
    command = [sys.executable, "-c", renumber, str(child_in), str(child_out), browser, *options]
    command.append(f"--user-data-dir={profile}")
    with subprocess.Popen(
        command, pass_fds=(child_in, child_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(child_in)
        os.close(child_out)
        try:
            page = Page(to_browser, from_browser)
            yield page
            page.ask("Page.close")
        finally:
            process.terminate()
            os.close(to_browser)
            os.close(from_browser)
