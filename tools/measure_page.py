"""How soon the page of an episode can be used, and how many pictures a second it shows while its slider is dragged.

    python tools/measure_page.py EPISODE.mcap [--picture OUT.png]

Runs `robotctl replay EPISODE --web` and a headless Chromium at the size of a laptop's screen. Without a graphics card
everything is drawn on the processor, which is slow: figures are of this machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")  # None: what playwright itself has installed
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
DRAG = 8.0  # how long the slider is dragged [s]

# Counts the frames that the browser draws, and the different times that the page shows in them.
WATCH = """() => {
  const seen = window.seen = { frames: 0, times: new Set(), since: performance.now() };
  const shown = () => [...document.querySelectorAll("b")].map(b => b.textContent).find(t => / s$/.test(t));
  const look = () => { seen.frames++; seen.times.add(shown()); requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
COUNT = "() => [window.seen.frames, window.seen.times.size, (performance.now() - window.seen.since) / 1000]"


def drag(page: Page) -> tuple[float, float]:
    """Frames, and different times shown, a second while the slider is dragged to and fro."""
    slider = page.get_by_role("slider").first
    track = slider.locator("xpath=..").bounding_box()
    assert track is not None
    y = track["y"] + track["height"] / 2
    page.mouse.move(track["x"] + 3, y)
    page.mouse.down()
    page.evaluate(WATCH)
    started, step = time.monotonic(), 0
    while time.monotonic() - started < DRAG:
        share = abs((step % 400) / 200.0 - 1.0)
        page.mouse.move(track["x"] + 3 + (track["width"] - 6) * (1.0 - share), y)
        page.wait_for_timeout(20)
        step += 1
    frames, times, seconds = page.evaluate(COUNT)
    page.mouse.up()
    return frames / seconds, times / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episode", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    robotctl = Path(sys.executable).parent / "robotctl"
    started = time.monotonic()
    server = subprocess.Popen(
        [robotctl, "replay", options.episode, "--web", "--port", "8090"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))
        served = time.monotonic() - started
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            opened = time.monotonic()
            page.goto(address)
            page.get_by_text("nearest person").wait_for(timeout=60_000)
            page.get_by_text("Play", exact=True).click(timeout=60_000)
            page.get_by_text("Pause", exact=True).wait_for(timeout=60_000)
            interactive = time.monotonic() - opened
            page.get_by_text("Pause", exact=True).click(timeout=60_000)
            page.wait_for_timeout(3000)
            frames, times = drag(page)
            if options.picture:
                page.wait_for_timeout(3000)
                page.screenshot(path=options.picture, timeout=120_000)
            browser.close()
    finally:
        server.terminate()
    print(f"page served {served:.2f} s after the command; interactive (Play answers) {interactive:.2f} s after opening")
    print(f"scrubbing: {times:.1f} different times a second, {frames:.1f} frames a second")


if __name__ == "__main__":
    main()
