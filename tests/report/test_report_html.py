from __future__ import annotations

import re
import shlex
from functools import cache
from html.parser import HTMLParser

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.records.run import Gate, RunReport, Target
from compressor.report.html import comparison_html, report_html
from compressor.report.markdown import report_markdown

NASTY = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Collects the tags, the links and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def nasty_run() -> RunReport:
    run, benchmark = documents.run(), documents.benchmark()
    return replace(
        run,
        settings={**run.settings, "architecture": NASTY},
        command=shlex.join(["compress", "run", NASTY, "--out", NASTY]),
        warnings=(NASTY,),
        notes=(NASTY,),
        layers=documents.with_first(run.layers, name=NASTY),
        stages=(run.stages[0], *documents.with_first(run.stages[1:], stage=NASTY), replace(run.stages[-1], file=NASTY)),
        targets=(Target(kind="macs", asked=0.5, reached=0.4, met=True, next=NASTY),),
        gates=(Gate(name="max-drop", limit=1.0, holds=False, measured=NASTY),),
        benchmark=replace(
            benchmark,
            variants=documents.with_first(benchmark.variants, name=NASTY),
            comparisons=documents.with_first(benchmark.comparisons, variant=NASTY),
            environment=replace(benchmark.environment, cpu_model=NASTY),
        ),
    )


PAGES = {
    "run": lambda: report_html(documents.run()),
    "missed": lambda: report_html(documents.missed_target()),
    "benchmark": lambda: report_html(documents.benchmark("slower")),
    "nasty": lambda: report_html(nasty_run()),
    "comparison": lambda: comparison_html([(NASTY, documents.run()), ("new", documents.benchmark())]),
}


@cache
def html(name: str) -> str:
    return PAGES[name]()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_runs_nothing(name: str) -> None:
    page = Page(html(name))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\((?!#)|@import", html(name))


@pytest.mark.parametrize("name", PAGES)
def test_every_id_of_a_page_is_its_own(name: str) -> None:
    ids = Page(html(name)).ids
    assert len(ids) == len(set(ids))


def test_the_same_document_gives_the_same_bytes() -> None:
    assert report_html(documents.run()) == html("run")


def test_names_from_a_file_are_shown_as_text() -> None:
    page = Page(html("nasty"))
    assert page.text.count(NASTY) >= 18
    assert NASTY not in html("nasty")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "x" * 5000, "\u202eexe.txt", "a\nb\x1b[2J", '"onload="alert(1)', "</style><b>"],
)
def test_a_name_of_any_kind_does_no_harm(name: str) -> None:
    run, benchmark = documents.run(), documents.benchmark()
    (*others, last) = run.stages
    hostile = replace(
        run,
        settings={**run.settings, "architecture": name},
        stages=(*others, replace(last, file=name, variant=name, note=name)),
        layers=documents.with_first(run.layers, name=name),
        benchmark=replace(benchmark, variants=tuple(replace(one, name=name) for one in benchmark.variants)),
    )
    usual = Page(html("run"))
    for text in (report_html(hostile), comparison_html([(name, hostile), ("b", run)])):
        page = Page(text)
        assert set(page.tags) <= set(usual.tags)
        assert all(character.isprintable() or character in "\n\u00a0" for character in text)
        assert not {attribute for attribute in page.attributes if attribute.startswith("on")}


def test_every_warning_is_shown_wherever_the_report_is() -> None:
    warned = ("the first of the run", "the second of the run")
    run = documents.run(warnings=warned, benchmark=replace(documents.benchmark(), warnings=("of the benchmark",)))
    for text in (report_html(run), report_markdown(run), *(comparison_html([("a", run), ("b", run)]),)):
        assert all(warning in text for warning in (*warned, "of the benchmark"))


def test_training_has_a_title_over_each_phase_and_no_line_between_them() -> None:
    chart = html("run")
    chart = chart[chart.index("<h3>Training</h3>") :]
    chart = chart[: chart.index("</figure>")]
    assert all(f">{phase}</text>" in chart for phase in ("fine-tune", "recover"))


def test_no_line_goes_through_the_stages() -> None:
    run = documents.run(benchmark=None, training=(), layers=())
    (chart,) = re.findall(r"<svg.*?</svg>", report_html(run), re.DOTALL)
    values = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--accent\)', chart)
    assert values
    assert all(len(re.findall("[ML]", path)) <= 2 for path in values)


def test_stale_stages_are_in_the_table_and_not_in_the_chart() -> None:
    run = documents.run(benchmark=None, training=(), layers=())
    (first, second, *others) = run.stages
    stale = report_html(replace(run, stages=(first, replace(second, stale=True), *others)))
    (chart,) = re.findall(r"<svg.*?</svg>", stale, re.DOTALL)
    assert "fine-tuned" not in chart
    assert "Left out: fine-tuned, measured with stale BatchNorm statistics." in stale
    assert stale.count(">fine-tuned<") == 1


def test_charts_take_their_colours_from_the_page() -> None:
    page = html("run")
    charts = page[page.index("<figure") :]
    assert "var(--accent)" in charts
    assert not re.search(r"(?:fill|stroke): ?#", charts)


def test_a_run_shows_four_charts() -> None:
    assert Page(html("run")).tags.count("svg") == 4


def test_a_benchmark_shows_its_latencies() -> None:
    page = Page(html("benchmark"))
    assert page.tags.count("svg") == 1
    assert "1.21x slower (CI 1.17–1.25, noise floor ±1.3 %, 8x6 rounds)" in page.text


def test_a_comparison_shows_the_trade_off_and_every_environment() -> None:
    page = Page(html("comparison"))
    assert page.tags.count("svg") == 2
    assert "Environment of new" in page.text


def test_a_missed_target_and_the_warnings_stand_before_the_tables() -> None:
    text = Page(html("missed")).text
    assert text.index("Target missed") < text.index("the target was not met") < text.index("Stages")


@pytest.mark.parametrize(
    "words",
    [
        "compress run digits-resnet --penalty l1-l2 --target-macs 0.5 --out runs/digits",
        "2025-06-01 10:00 UTC · took 2 min 31 s · compressor 0.1.0",
        "AMD EPYC 9354 32-Core Processor",
        "Latency 52.6 % 2.34 ms → 1.23 ms 1.90x faster [1.86–1.94]",
        "Accuracy +0.28 points 98.33 % → 98.61 % [−1.43 to +1.99], within noise 360 samples, taken as independent",
        "Ship small.onnx.",
        "recovered.pt the same network for PyTorch, to load or to train on 480 kB",
        "shrunk.pt not to ship: the network without those channels, before it was recovered 480 kB",
        "compress benchmark runs/digits/dense.onnx runs/digits/small.onnx --out there.json",
        "Removing 1012 of 2100 channels changes nothing, float64",
        "graph optimization all",
    ],
)
def test_a_run_tells_how_it_came_about(words: str) -> None:
    assert words in Page(html("run")).text


def test_a_run_without_benchmark_training_or_accuracy_still_has_a_page() -> None:
    run = documents.run(benchmark=None, training=(), layers=(), export=(), removal=None, target=None, gap=None)
    page = Page(report_html(documents.without_metrics(run)))
    assert "svg" not in page.tags
    assert "Speed not measured" in page.text
    assert "Ship small.onnx if what was not measured does not matter." in page.text


def test_a_name_with_dollars_is_no_formula() -> None:
    run = documents.run()
    run = replace(run, layers=documents.with_first(run.layers, name="a$b_$c"))
    assert "a$b_$c" in Page(report_html(run)).text


def test_the_charts_of_another_metric_carry_its_name() -> None:
    run = documents.run()
    run = replace(run, stages=tuple(replace(stage, metric=documents.perplexity(20.0)) for stage in run.stages))
    text = Page(report_html(run)).text
    assert "Perplexity through the stages" in text
    assert "perplexity, nats" in text
    assert "Left and down is better." in Page(comparison_html([("a", run), ("b", run)])).text


def test_counts_beyond_all_measure_still_have_a_page() -> None:
    run = documents.run()
    run = replace(run, layers=documents.with_first(run.layers, after=2**63))
    assert Page(report_html(run)).tags.count("svg") == 4


def test_a_page_allows_itself_neither_scripts_nor_requests():
    labelled = [("a", documents.run()), ("b", documents.run())]
    for page in (report_html(documents.run()), comparison_html(labelled)):
        policy = (
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        )
        # Before anything that it is about.
        assert policy in page[: page.index("<title>")]
