"""The page in headless Chromium, clicked: sorting, hiding, switching, and nothing wider than a phone.

Skipped where there is no chromium and chromedriver (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import reportdata

from zoo.report.page import write_page
from zoo.report.problems import find_problems

good, stored = reportdata.good, reportdata.stored

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not (DRIVER and BROWSER), reason="needs chromium and chromedriver")


class Browser:
    """The few words of the WebDriver protocol that the test speaks."""

    def __init__(self, address):
        self.address = address

    def __call__(self, path, content=None):
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.address}{path}", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def run(self, script):
        return self("/execute/sync", {"script": script, "args": []})

    def click(self, selector):
        [element] = self("/element", {"using": "css selector", "value": selector}).values()
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        self(f"/element/{element}/click", {})


@pytest.fixture
def browser():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        service = Browser(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if service("/status")["ready"]:
                    break
            time.sleep(0.1)
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ]
        options = {"binary": BROWSER, "args": arguments}
        wanted = {
            "capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        }
        session = service("/session", wanted)["sessionId"]
        yield Browser(f"{service.address}/session/{session}")
        request = urllib.request.Request(f"{service.address}/session/{session}", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_the_page_responds_to_clicks(browser, tmp_path):
    results = [
        stored(tmp_path / "store", good(macro, model=f"toyzoo/{name}"), images=200, signal=5 * macro - 3)
        for name, macro in (("middle", 0.9), ("best", 0.95), ("worst", 0.8))
    ]
    write_page(find_problems(results), [], tmp_path / "page.html")
    browser("/url", {"url": (tmp_path / "page.html").as_uri()})

    names = "return [...document.querySelectorAll('.sortable tbody .name')].map(cell => cell.textContent)"
    assert browser.run(names) == ["toyzoo/best", "toyzoo/middle", "toyzoo/worst"]
    browser.click(".sortable th:nth-child(3) button")  # macro AUC, sorted already: turns round
    assert browser.run(names) == ["toyzoo/worst", "toyzoo/middle", "toyzoo/best"]
    browser.click(".sortable th:nth-child(1) button")
    assert browser.run(names) == ["toyzoo/best", "toyzoo/middle", "toyzoo/worst"]
    sorts = "return [...document.querySelectorAll('.sortable th')].map(cell => cell.ariaSort).join(' ')"
    assert browser.run(sorts).startswith("ascending none none")

    lines = "return [...document.querySelectorAll('.logarithmic .line.s1')].map(mark => mark.checkVisibility())"
    assert browser.run(lines) == [True] * 3
    browser.click(".key[data-series='1']")
    assert browser.run(lines) == [False] * 3
    browser.click(".key[data-series='1']")
    assert browser.run(lines) == [True] * 3

    shown = "return ['linear', 'logarithmic'].map(axes => document.querySelector(`.${axes}`).checkVisibility())"
    browser.click("input[value=linear]")
    assert browser.run(shown) == [True, False]
    browser.click("input[value=logarithmic]")
    assert browser.run(shown) == [False, True]

    # Saved files, whose addresses the page gives to links.
    browser.run(
        "saved = []; HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.href]); }"
    )
    browser.click("figure[data-file] .files button:nth-of-type(1)")
    browser.click("figure[data-file] .files button:nth-of-type(2)")
    deadline = time.monotonic() + 20
    while len(files := dict(browser.run("return saved"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    drawing, picture = files["stripes-roc-curves-no-substructure.svg"], files["stripes-roc-curves-no-substructure.png"]
    root = ElementTree.fromstring(unquote(drawing.partition(",")[2]))
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {"toyzoo/best", "toyzoo/worst", "false positive rate", "0.999"} <= set(texts)
    assert not [element for element in root.iter() if "class" in element.attrib]
    assert base64.b64decode(picture.partition(",")[2]).startswith(b"\x89PNG")

    paper = "return getComputedStyle(document.body).backgroundColor"
    before = browser.run(paper)
    browser.click("#theme")
    after = browser.run(paper)
    assert after != before
    browser.click("#theme")
    assert browser.run(paper) == before

    hints = "return [...document.querySelectorAll('.hint')].map(hint => hint.checkVisibility())"
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": phone})
    assert browser.run("return window.innerWidth") == 390
    assert browser.run(hints)[0]
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert [entry for entry in browser("/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"] == []
