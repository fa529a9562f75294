"""Copy the marked parts of the example DAGs into the provider's pages.

Run it with ``python -m tests.include.mlflow_provider.pages``.
Below ``<!-- file marker -->`` in a page stands the code between ``# [START marker]`` and ``# [END marker]``.
"""

import re
from pathlib import Path
from textwrap import dedent

PACKAGE = Path(__file__).parents[3] / "include" / "mlflow_provider"
PAGES = [PACKAGE / "README.md", *sorted((PACKAGE / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- (\w+) (\w+) -->\n)```python\n.*?^```\n", re.DOTALL | re.MULTILINE)


def filled(text: str) -> str:
    """Return a page with the code that the examples have now."""
    return BLOCK.sub(lambda found: f"{found[1]}```python\n{_part(found[2], found[3])}```\n", text)


def _part(file: str, marker: str) -> str:
    code = (PACKAGE / "example_dags" / f"{file}.py").read_text()
    _, _, rest = code.partition(f"# [START {marker}]\n")
    part, end, _ = rest.partition(f"# [END {marker}]")
    if not end:
        raise ValueError(f"{file}.py has no part {marker}")
    return dedent(part.rpartition("\n")[0] + "\n")


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
