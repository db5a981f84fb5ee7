"""What the site takes from elsewhere: the repository's address, and a reference page for every public module."""

import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
UNDOCUMENTED = {"__init__", "__main__", "cli"}  # the command line has a page of its own


def modules() -> list[str]:
    """The modules and packages right below ``compressor``, by name."""
    folder = ROOT / "compressor"
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return sorted(found - UNDOCUMENTED)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The repository's address is that of pyproject.toml; modules and decisions follow in the navigation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config.repo_url, config.repo_name = project["urls"]["Homepage"], "Source"
    sections: dict[str, list[Any]] = {}
    for entry in config.nav or []:
        sections |= entry if isinstance(entry, dict) else {}
    sections["Reference"].append({"Modules": [{f"compressor.{name}": f"reference/{name}.md"} for name in modules()]})
    sections["Decisions"] += sorted(f"decisions/{page.name}" for page in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A page for every module, made of its docstrings."""
    for name in modules():
        content = f"# compressor.{name}\n\n::: compressor.{name}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files
