"""Brings pages and results from elsewhere in the repository into the documentation's site.

One file serves both readers: on the repository's web pages its links lead from file to file, and in the site to pages.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "protocols/README.md": "protocols.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository, and where their pages stand."""

RESULTS = ("*.json", "*.html", "*.png")
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=.?https?:|<link\b[^>]*\bhref=.?https?:|url\(.?https?:")
"""What a browser would ask another server for, without being told to."""

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add them."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for pattern in RESULTS:
        for path in sorted((ROOT / "benchmarks/results").glob(pattern)):
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between the repository's files into links between the site's."""
    at = page.file.src_uri
    source = {to: name for name, to in PAGES.items()}.get(at, f"docs/{at}")

    def moved(link: re.Match[str]) -> str:
        target = normpath(str(PurePosixPath(source).parent / link[0]))
        target = PAGES.get(target, target.removeprefix("docs/"))
        target = target.replace("benchmarks/results/", "results/", 1)
        return relpath(target, str(PurePosixPath(at).parent))

    return LINK.sub(moved, markdown)


def on_post_build(config: Any) -> None:
    """Refuse a site that asks anything of other servers: who reads about privacy is not to be counted."""
    for path in (*Path(config.site_dir).rglob("*.html"), *Path(config.site_dir).rglob("*.css")):
        found = FETCHED.search(path.read_text("utf-8"))
        if found:
            raise PluginError(f"{path}: {found[0]} would be fetched from another server")
