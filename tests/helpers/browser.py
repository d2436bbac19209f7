"""A headless Chromium without a way to the net, driven by the W3C's WebDriver protocol."""

import json
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import ProxyHandler, Request, build_opener

PACKAGES = ("chromium", "chromium-driver")
PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1100",
    # Nobody listens there: what a page fetches fails, and says so on the console.
    "--proxy-server=127.0.0.1:9",
)
TIMEOUT_S = 120


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if not shutil.which(program)]


class Browser(NamedTuple):
    """An open window."""

    url: str  # of the session

    def open(self, page: Path) -> None:
        self.call("POST", "/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What an asynchronous function body gives to its callback `done`."""
        body = f"const done = arguments[arguments.length - 1]; {script}"
        return self.call("POST", "/execute/async", {"script": body, "args": list(arguments)})

    def errors(self) -> list[str]:
        """Errors on the console since the last call."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def save_screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self.call("GET", "/screenshot")))

    def call(self, method: str, command: str, body: dict[str, Any] | None = None) -> Any:
        return _call(method, self.url + command, body)


def _call(method: str, url: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    # The user's proxy is not asked for a program on this machine.
    with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_S) as answer:
        return json.load(answer)["value"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile directory of its own."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        port = next(
            match[1]
            for line in driver.stdout
            if (match := re.search(r"started successfully on port (\d+)", line))
        )
        options = {
            "goog:chromeOptions": {"args": [*FLAGS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        base = f"http://127.0.0.1:{port}/session"
        session = _call("POST", base, {"capabilities": {"alwaysMatch": options}})
        window = Browser(f"{base}/{session['sessionId']}")
        try:
            window.call("POST", "/timeouts", {"script": 1000 * TIMEOUT_S})
            yield window
        finally:
            window.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()
