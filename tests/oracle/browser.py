"""Opens a page of the local disk in headless Chromium and says what a reader sees, as one line of JSON.

usage: browser.py PAGE [--screenshots FOLDER]

Prints `console` (messages of whatever kind, and errors), `requests` (URLs that were asked for), `views` (for each width
and colour scheme: how wide the page and the window are, and the least contrast of a text with what is behind it),
`cells` (JSON pointer and text of what has `data-path`), `reckoned` (`data-value` and text), `report` (the embedded
JSON), `headings`, `charts` (of each its title and whether its figures stand in a table near it), `folded_on_screen` and
`folded_in_print` (tables that are not shown), and how many tables have no caption and headers no scope.

It speaks the DevTools protocol over two pipes, so it needs no library. Chromium: `apt-get install chromium`.
"""

import argparse
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --remote-debugging-pipe"
).split()
WIDTHS = (360, 1280)
PATIENCE_S = 60
LOOK = (Path(__file__).parent / "browser.js").read_text()


class Browser:
    """A Chromium of its own, in a folder of its own."""

    def __init__(self, binary, profile):
        to_browser, self.to = os.pipe()
        self.come, from_browser = os.pipe()

        def pipes():
            # Chromium reads commands at 3 and writes answers to 4. Move both out of the way first.
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.waiting, self.events, self.number = b"", [], 0

    def receive(self):
        while b"\0" not in self.waiting:
            is_here, _, _ = select.select([self.come], [], [], PATIENCE_S)
            more = os.read(self.come, 1 << 20) if is_here else b""
            if not more:
                sys.exit("Chromium ended, or said nothing for a minute")
            self.waiting += more
        message, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def look(browser, page, screenshots):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(method, **params):
        return browser.call(method, session, **params)

    def evaluate(expression):
        answer = call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            sys.exit(f"{expression[:60]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    for domain in ("Page", "Runtime", "Log", "Network"):
        call(f"{domain}.enable")
    # With it the browser would say what is wrong with the page's forms, colours and policies, too.
    call("Audits.enable")
    call("Page.navigate", url=page.resolve().as_uri())
    browser.wait_for("Page.loadEventFired")
    evaluate(LOOK)
    views = []
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            views.append({"width": width, "scheme": scheme} | evaluate("lookAtView()"))
            if screenshots:
                shot = call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
                (screenshots / f"{width}-{scheme}.png").write_bytes(base64.b64decode(shot))
    seen = evaluate("lookAtPage()") | {"folded_on_screen": evaluate("foldedTables()")}
    call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    seen["folded_in_print"] = evaluate("foldedTables()")
    if screenshots:
        printed = call("Page.printToPDF", printBackground=True)["data"]
        (screenshots / "print.pdf").write_bytes(base64.b64decode(printed))
    return seen | {"views": views} | noticed(browser.events)


def noticed(events):
    """What the browser had to say, and what it asked for."""
    told = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded")
    asked = [event["params"] for event in events if event.get("method") == "Network.requestWillBeSent"]
    return {
        "console": [json.dumps(event["params"]) for event in events if event.get("method") in told],
        "requests": [params["request"]["url"] for params in asked],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--screenshots", type=Path)
    args = parser.parse_args()
    binary = next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        sys.exit(f"there is no Chromium ({', '.join(NAMES)}): `apt-get install chromium`")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(binary, profile)
        try:
            print(json.dumps(look(browser, args.page, args.screenshots)))
        finally:
            browser.end()


if __name__ == "__main__":
    main()
