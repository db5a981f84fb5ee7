"""A report from anybody, opened in a browser: it runs nothing, asks for nothing and draws nothing of its own."""

import warnings
from urllib.parse import urlsplit

import pytest

from compressor.codec import decode_report
from compressor.report.html import comparison_html, report_html
from fuzz import pages

BROWSER = pages.browser()
# What the browser asks for by itself, whatever the page.
ITS_OWN = ("googleapis.com", "google.com", "gvt1.com")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"there is no browser: none of {', '.join(pages.BROWSERS)}"),
]


def asked_for(html):
    """The page's tree in the browser, and what it asked the network for."""
    dom, asked = pages.loaded(html, BROWSER)
    return dom, [address for address in asked if not _host(address).endswith(ITS_OWN)]


def _host(address):
    return urlsplit(address if "://" in address else f"//{address}").hostname or address


@pytest.fixture(scope="module")
def documents(campaign_root):
    return {name: (campaign_root / "bases" / f"{name}.json").read_bytes() for name in ("run", "benchmark")}


def drawn(report, kind):
    with warnings.catch_warnings(action="ignore"):
        return comparison_html([("<b>x</b>", report), ("y", report)]) if kind == "comparison" else report_html(report)


def test_the_browser_would_show_it():
    dom, asked = asked_for(f"<p>x</p><script>{pages.RUN}</script><img src='{pages.URL}/image'>")
    assert pages.OWNED in dom[:200]
    assert asked == [f"{pages.URL}/image"]


@pytest.mark.parametrize("shift", range(0, len(pages.ATTACKS), 4))
@pytest.mark.parametrize("kind", ["run", "benchmark", "comparison"])
def test_nothing_comes_of_an_attack(kind, shift, documents):
    document = documents["run" if kind == "comparison" else kind]
    html = drawn(pages.attacked(document, shift), kind)
    assert pages.URL in html
    dom, asked = asked_for(html)
    assert not asked
    assert pages.OWNED not in dom[:200]
    harmless = pages.shape(drawn(decode_report(document, "harmless"), kind))
    assert pages.shape(dom).elements <= harmless.elements
