"""The page of a profile in a real browser: no overflow on a phone, no complaints, not blank.

Skips where no Chromium is found; FFEDGE_REQUIRE_BROWSER=1 makes that a failure.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from html import escape, unescape

import pytest
from profile_samples import sample_profile

from ffedge.profiling.page import page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (320, 390, 768, 1280)

CASES = {
    "int8": {"features": 784, "hidden": (200, 100), "precision": "int8", "budget": 1 << 20},
    "layerwise": {"hidden": (48,) * 8, "schedule": "layerwise", "budget": 1 << 20},
    "64 layers": {"hidden": (64,) * 64, "budget": 1 << 30},
    "64 layers layerwise": {"hidden": (64,) * 64, "schedule": "layerwise"},
    "budget close by": {"budget": 126_000, "hidden": (100,)},
    "long names": {"data": "a-name-without-a-place-to-break-" * 8},
}

#: Frames of the page, as wide as phones, tablets and desks, and what each says of itself.
FRAMES = """<!DOCTYPE html><html><head><title>waiting</title></head><body>{frames}<script>
onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const inner = frame.contentDocument, box = inner.documentElement;
    const written = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
    const letters = [...inner.querySelectorAll("body *")].filter(
      e => e.getClientRects().length && written(e));
    const sizes = letters.map(e => parseFloat(frame.contentWindow.getComputedStyle(e).fontSize));
    const plots = [...inner.querySelectorAll(".plot")].map(plot => {{
      const edge = plot.closest("section").getBoundingClientRect();
      return [...plot.querySelectorAll("text")].filter(t => t.getClientRects().length).every(t => {{
        const at = t.getBoundingClientRect();
        return at.left >= edge.left && at.right <= edge.right;
      }});
    }});
    const clash = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    const apart = [...inner.querySelectorAll("svg")].map(svg => {{
      const at = [...svg.querySelectorAll("text")].filter(t => t.getClientRects().length)
        .map(t => t.getBoundingClientRect());
      return at.every((a, i) => at.slice(i + 1).every(b => !clash(a, b)));
    }});
    return [frame.clientWidth, box.scrollWidth, Math.min(...sizes),
      plots.every(p => p), apart.every(a => a)];
  }});
  document.title = JSON.stringify(found);
}};
</script></body></html>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """``browser(file, *options)`` runs Chromium on it without a window; (output, complaints)."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("FFEDGE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"FFEDGE_REQUIRE_BROWSER=1, but none of {', '.join(BROWSERS)} is installed")
        pytest.skip("no browser: chromium is not installed")
    profile = tmp_path_factory.mktemp("browser")

    def run(file, *options):
        done = subprocess.run(
            [
                program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--enable-logging=stderr", f"--user-data-dir={profile}", *options, file.as_uri(),
            ],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run


@pytest.fixture(params=CASES, ids=str)
def text(request):
    return page(sample_profile(**CASES[request.param]))


def frames_of(text):
    """The page beside itself at all widths; ``srcdoc`` lets the outer page look inside."""
    return "".join(
        f'<iframe srcdoc="{escape(text)}" style="border:0;width:{width}px;height:844px"></iframe>'
        for width in WIDTHS
    )


def pixels(png):
    """The raw bytes of an 8-bit PNG's rows, filters and all."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(data)


def measure(browser, text, folder):
    """[width, width needed, smallest letters, labels all inside, all apart] of each frame."""
    file = folder / "frames.html"
    file.write_text(FRAMES.format(frames=frames_of(text)), encoding="utf-8")
    shown, _ = browser(file, "--dump-dom", "--virtual-time-budget=10000")
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", shown)[1]))


def test_an_overflow_and_small_letters_would_be_seen(browser, tmp_path):
    wide = '<div style="width:999px;font-size:5px">x</div>'

    found = measure(browser, page(sample_profile()).replace("</main>", wide + "</main>"), tmp_path)

    assert [needed > width for width, needed, *_ in found] == [True, True, True, False]
    assert {smallest for _, _, smallest, *_ in found} == {5}


def test_no_width_overflows_and_all_letters_can_be_read(browser, text, tmp_path):
    found = measure(browser, text, tmp_path)

    assert [width for width, *_ in found] == list(WIDTHS)
    for width, needed, smallest, inside, apart in found:
        assert needed <= width
        assert smallest >= 11
        assert inside
        assert apart, f"labels lie on each other at {width} px"


def test_the_browser_has_nothing_to_complain_about(browser, text, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")

    shown, complaints = browser(file, "--dump-dom")

    assert not complaints
    assert shown.count("<svg") == text.count("<svg")


def test_complaints_of_a_page_would_be_heard(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(sample_profile()).replace("<main>", "<main><script>1</script>"))

    _, complaints = browser(file, "--dump-dom")

    # What would run is refused by the page's own policy.
    assert any("Content Security Policy" in line for line in complaints)


@pytest.mark.parametrize("size", ["390,844", "1280,1600"])
def test_a_screenshot_is_not_blank(browser, text, size, tmp_path):
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    file.write_text(text, encoding="utf-8")

    browser(file, f"--window-size={size}", f"--screenshot={picture}")

    data = pixels(picture.read_bytes())
    assert len(data) > 390 * 844 * 3
    assert len(set(data)) > 64
    assert max(data.count(value) for value in set(data)) < 0.995 * len(data)
