"""Fixtures that drive real JupyterLab in a real Chromium: name "tests.helpers.browser" in `pytest_plugins`.

Without Chromium the tests are skipped, except where the environment variable CI is set: there they fail.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

START_SECONDS = 90
QUIET = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}


class Lab:
    """A JupyterLab server on a free port, with its own settings, serving `folder`; `changes` go to its environment."""

    def __init__(self, folder: Path, **changes: str) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.log = (folder / "server.log").open("w")
        environment = {**_environment(folder), **changes}
        self.process = subprocess.Popen(
            self._command(), env=environment, stdout=self.log, stderr=subprocess.STDOUT, cwd=self.folder
        )

    def _command(self) -> list[str]:
        port = self.url.rsplit(":", 1)[1]
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"),
            *("--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={self.token}"),
            *(f"--ServerApp.root_dir={self.folder}", "--LabApp.expose_app_in_browser=True"),
        ]

    def wait(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=2).close()
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"JupyterLab did not answer: {Path(self.log.name).read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def open(self, page, name: str, cells: list[str]) -> None:
        """Write a notebook, open it and run all its cells."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=KERNEL)
        nbformat.write(book, self.folder / name)
        page.goto(f"{self.url}/lab/tree/{name}?token={self.token}&reset")
        # An idle kernel first: a command given to a kernel that still starts can get lost.
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    @staticmethod
    def run_cell(page, index: int) -> str:
        """Run the notebook's cell `index` and give the text it prints."""
        cell = page.locator(".jp-CodeCell").nth(index)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+Enter")
        prompt.filter(has_text=re.compile(r"\[\d+\]")).filter(has_not_text=before).wait_for()
        return cell.locator(".jp-OutputArea-output").inner_text().strip()


def _environment(folder: Path) -> dict[str, str]:
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(folder / name.lower()) for name in names}
    page_config = Path(own["JUPYTER_CONFIG_DIR"]) / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    page_config.write_text(json.dumps(QUIET))
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A headless Chromium that is already installed; nothing is downloaded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "no chromium, chromium-browser or google-chrome on PATH: the explorers cannot be tried in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory) -> Iterator[Lab]:
    """One JupyterLab for all browser tests; it needs `chromium` so that it does not start in vain."""
    server = Lab(tmp_path_factory.mktemp("lab"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def watch(page) -> list[str]:
    """Collect what the page reports as an error from now on."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


@contextmanager
def open_page(chromium) -> Iterator:
    """Give an empty page of 1280 by 1000 pixels; any error it reported fails the test at the end."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    tab = context.new_page()
    errors = watch(tab)
    yield tab
    context.close()
    assert errors == []


@pytest.fixture
def page(chromium) -> Iterator:
    """A page for one test."""
    with open_page(chromium) as tab:
        yield tab


@pytest.fixture(scope="module")
def module_page(chromium) -> Iterator:
    """One page for all tests of a module, where opening a notebook for each would take too long."""
    with open_page(chromium) as tab:
        yield tab
