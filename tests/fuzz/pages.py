"""Reports as whole pages in a headless browser: every text of theirs is an attack, and nothing may come of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from compressor.codec import decode_report
from compressor.errors import CompressorError
from compressor.records.run import Report
from fuzz import trees

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OWNED = "owned-by-a-report"
RUN = f"document.documentElement.setAttribute('class','{OWNED}')"
URL = "http://canary.invalid"
ATTACKS = (
    f"<script>{RUN}</script>",
    f'"><img src="{URL}/img" onerror="{RUN}">',
    f"'><svg onload=\"{RUN}\"><image href='{URL}/svg'/></svg>",
    f"</title></style></textarea><script>{RUN}</script>",
    f"</style><style>@import '{URL}/css'; body {{ background: url({URL}/bg) }}</style>",
    f'"><iframe srcdoc="<script>parent.{RUN}</script>" src="{URL}/frame"></iframe>',
    f'"><link rel="stylesheet" href="{URL}/link"><link rel="prefetch" href="{URL}/prefetch">',
    f'"><meta http-equiv="refresh" content="0;url={URL}/refresh"><base href="{URL}/">',
    f'" autofocus onfocus="{RUN}" style="background:url({URL}/attribute)" x="',
    f"<details open ontoggle={RUN}>",
    f"]]>--><script>{RUN}</script><!--",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#60;script&#62;",
    f'{{{{ cycler.__init__.__globals__ }}}}{{% for x in () %}}<a href="javascript:{RUN}">x</a>',
    f"\x00<scr\x00ipt>{RUN}</script>\u2028\ufeff\x1b[31m",
    f"<math><mtext></form><form><mglyph><style></math><img src={URL}/m onerror={RUN}>",
    f"![x]({URL}/markdown) [x](javascript:{RUN}) <{URL}/auto> | `\n\n---\n# heading",
)
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    "--disable-component-update --disable-default-apps --disable-extensions --disable-domain-reliability "
    "--disable-client-side-phishing-detection --metrics-recording-only --no-pings --disable-breakpad "
    "--disable-features=OptimizationHints,MediaRouter,Translate,NetworkTimeServiceQuerying,DialMediaRouteProvider "
    "--virtual-time-budget=3000"
)


def browser() -> str | None:
    """The path of a headless browser; None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def attacked(document: bytes, shift: int) -> Report:
    """A report each of whose texts is an attack, another one for another ``shift``, where the schema lets it be."""
    tree = json.loads(document)
    texts = [path for path in trees.paths(tree, most=10**6) if isinstance(trees.at(tree, path), str)]
    for number, path in enumerate(texts):
        changed = trees.edited(tree, ["set", path, ATTACKS[(number + shift) % len(ATTACKS)]], lambda value: value)
        if _is_report(changed):
            tree = changed
    return decode_report(json.dumps(tree).encode(), "attacked")


def _is_report(tree: Any) -> bool:
    try:
        decode_report(json.dumps(tree).encode(), "attacked")
    except CompressorError:
        return False
    return True


@dataclass
class Shape(HTMLParser):
    """Which elements a page has, with their attributes, and which values of those could lead somewhere."""

    elements: set[tuple[str, str]] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note them."""
        self.elements |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        self.targets |= {value for _, value in attrs if value and ("url(" in value or "javascript:" in value)}


def shape(html: str) -> Shape:
    """That of ``html``."""
    parsed = Shape()
    parsed.feed(html)
    return parsed


def loaded(html: str, program: str) -> tuple[str, list[str]]:
    """The page's tree after it has been loaded and had time, and every address that was asked for."""
    with tempfile.TemporaryDirectory() as folder, _proxy() as (port, asked):
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8", errors="surrogatepass")
        proxy = (f"--proxy-server=http://127.0.0.1:{port}", "--proxy-bypass-list=<-loopback>")
        profile = f"--user-data-dir={folder}/profile"
        done = subprocess.run(
            [program, *QUIET.split(), *proxy, profile, "--dump-dom", page.as_uri()],
            capture_output=True,
            timeout=60,
            check=True,
        )
        return done.stdout.decode(), list(asked)


@contextmanager
def _proxy() -> Iterator[tuple[int, list[str]]]:
    """A proxy that answers nothing and remembers everything."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _remember(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_GET = do_POST = do_HEAD = do_CONNECT = do_OPTIONS = _remember

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
