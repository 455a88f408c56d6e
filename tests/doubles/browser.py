"""Headless Chromium over the pipe of its DevTools protocol: no driver, no library and no port."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Debian's package of this name brings it.
PROGRAM = shutil.which("chromium")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
_SOON = 30.0  # seconds


class Page:
    """The one page of a browser; ``errors`` are those that it threw or wrote to its console."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out, self._number, self._read = into, out, 0, b""
        self._session: dict[str, str] = {}
        self.errors: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """Return the answer to a command of the protocol; events until then may be errors."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._into, json.dumps(command).encode() + b"\0")
        while (told := self._message()).get("id") != self._number:
            event = told.get("params", {})
            level = event.get("type") or event.get("entry", {}).get("level")
            if "exceptionDetails" in event or level == "error":
                self.errors.append(event)
        assert "error" not in told, told
        return told["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._out, 1 << 20)
            assert more, "Chromium ended"
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def value(self, expression: str) -> Any:
        """Return what JavaScript evaluates to."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def shown(self, selector: str) -> str:
        """Return the text of the first such element, once there is one."""
        end = time.monotonic() + _SOON
        while (text := self.value(f"document.querySelector({selector!r})?.innerText")) is None:
            assert time.monotonic() < end, (selector, self.errors)
            time.sleep(0.05)
        return str(text)

    def click(self, selector: str) -> None:
        """Click on the first such element."""
        self.shown(selector)
        self.value(f"document.querySelector({selector!r}).click()")


@contextmanager
def opened(path: Path, profile: Path, *, width: int, theme: str) -> Iterator[Page]:
    """Yield the page of a file in a window of this width (pixels), on a system of this theme."""
    (theirs_in, into), (out, theirs_out) = os.pipe(), os.pipe()
    argv = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    chromium = subprocess.Popen(
        ["bash", "-c", argv, "bash", str(PROGRAM), *_OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(theirs_in, theirs_out),
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        page = Page(into, out)
        size = {"width": width, "height": 600, "deviceScaleFactor": 1, "mobile": width < 600}
        page.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        page.ask("Emulation.setEmulatedMedia", features=scheme)
        page.ask("Page.navigate", url=path.as_uri())
        yield page
    finally:
        chromium.terminate()
        chromium.wait()
        os.close(into)
        os.close(out)
