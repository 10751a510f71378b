"""Tables in the documentation are those of the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.documentation import MARK, TABLES, page_of, put_into, table


@pytest.mark.parametrize("name", TABLES)
def test_the_documentation_has_the_committed_results(name: str) -> None:
    assert table(name) in page_of(name).read_text(encoding="utf-8")


def test_a_table_goes_between_its_marks(tmp_path: Path) -> None:
    page, mark = tmp_path / "page.md", MARK.format("some.json")
    page.write_text(f"before\n{mark}\nold\n{mark}\nafter\n")
    for _ in range(2):
        put_into(page, "some.json", "| new |\n")
        assert page.read_text() == f"before\n{mark}\n\n| new |\n\n{mark}\nafter\n"
    page.write_text(f"{mark}\nonce")
    with pytest.raises(ValueError, match="1 times, not twice"):
        put_into(page, "some.json", "| new |\n")
    assert page.read_text() == f"{mark}\nonce"
