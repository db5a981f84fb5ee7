"""What the documents tell people to type exists, and what they tell them to run runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from compressor.cli import COMMANDS
from compressor.cli import compress as group

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(compress [^`\n]+)`")
RUN = re.compile(r"<!-- run -->\s*```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^```\n(?:(?!^```).)*?<!-- prints -->\s*```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text):
    """Commands after a prompt in console blocks, continued lines joined, and commands in running text."""
    for kind, block in BLOCK.findall(text):
        if kind == "console":
            lines = block.replace("\\\n", " ").splitlines()
            yield from (line.removeprefix("$ ") for line in lines if line.startswith("$ compress "))
    yield from INLINE.findall(BLOCK.sub("", text))


def told():
    """Every command of every document that names a command of ours."""
    for document in DOCUMENTS:
        for line in dict.fromkeys(commands(document.read_text(encoding="utf-8"))):
            words = shlex.split(line, comments=True)[1:]
            if words and words[0] in COMMANDS:
                yield pytest.param(words, id=f"{document.name}: {line}")


def snippets():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for number, block in enumerate(RUN.finditer(text), 1):
            printed = PRINTS.match(text, block.end() - len("```"))
            yield pytest.param(block[1], printed and printed[1], id=f"{document.name}-{number}")


def test_the_readme_is_written():
    if not (ROOT / "README.md").read_text(encoding="utf-8").strip():
        pytest.skip("README.md is still empty, so none of its commands can be checked")
    assert list(told())


@pytest.mark.parametrize("words", list(told()))
def test_every_command_in_the_documents_can_be_typed(words):
    """Arguments and options are parsed, nothing is run; a bare command in running text needs no arguments."""
    with group.make_context("compress", words) as context:
        name, command, rest = group.resolve_command(context, words)
        command.make_context(name, rest, parent=context, resilient_parsing=not rest)


def test_a_command_that_does_not_exist_would_be_found():
    line = next(commands("```console\n$ compress run x \\\n    --epoch 3\n```"))
    words = shlex.split(line)[1:]
    with pytest.raises(Exception, match="No such option '--epoch'"):
        test_every_command_in_the_documents_can_be_typed(words)


@pytest.mark.parametrize(("code", "printed"), list(snippets()))
def test_every_marked_example_runs_and_prints_what_is_said(code, printed, environment, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert printed is None or done.stdout == printed


def test_what_an_example_prints_is_seen():
    assert [printed for *_, printed in (case.values for case in snippets()) if printed]


LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document):
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    assert not [target for target in LINK.findall(text) if not (document.parent / target).exists()]
