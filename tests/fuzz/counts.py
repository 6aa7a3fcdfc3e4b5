"""What all runs of the fuzzer have done, in `counts.json`, and where the documentation says it.

python -m tests.fuzz.counts             prints the table and the number in README
python -m tests.fuzz.counts --write     writes both where they stand
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.guided import Outcome

COUNTS = Path(__file__).with_name("counts.json")
ROOT = Path(__file__).parents[2]
_TABLE = re.compile(r"(?<=<!-- counts of the fuzzer -->\n).*?(?=<!-- end -->)", re.DOTALL)
_README = re.compile(r"(?<=\[)[\d,]+(?= damaged files\])")


@dataclass(frozen=True)
class Total:
    """One reader, over all runs."""

    executions: int = 0
    read: int = 0
    refused: int = 0
    edges: int = 0
    last_new: int = 0
    """The execution, over all runs, that found the last branch that was new."""


def read_totals(path: Path = COUNTS) -> dict[str, Total]:
    if not path.exists():
        return {}
    return {name: Total(**values) for name, values in json.loads(path.read_text()).items()}


def add_counts(path: Path, name: str, outcome: Outcome) -> None:
    totals = read_totals(path)
    before, counts = totals.get(name, Total()), outcome.counts
    total = Total(
        before.executions + counts.executions, before.read + counts.read, before.refused + counts.refused, before.edges
    )
    if outcome.edges > before.edges:
        total = replace(total, edges=outcome.edges, last_new=before.executions + outcome.last_new)
    else:
        total = replace(total, last_new=before.last_new)
    write_totals({**totals, name: total}, path)


def write_totals(totals: dict[str, Total], path: Path = COUNTS) -> None:
    path.write_text(json.dumps({name: asdict(total) for name, total in totals.items()}, indent=1) + "\n")


def table(totals: dict[str, Total]) -> str:
    lines = [
        "| reader | inputs | read | refused | branches reached | the last new one at |",
        "|---|---|---|---|---|---|",
    ]
    for name, total in totals.items():
        numbers = (total.executions, total.read, total.refused, total.edges, total.last_new)
        lines.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(lines) + "\n"


def whole(totals: dict[str, Total]) -> str:
    """How many inputs together, as README has it."""
    return f"{sum(total.executions for total in totals.values()):,}"


def written(totals: dict[str, Total]) -> dict[Path, str]:
    """The documents, with these counts in them."""
    found = {}
    for path, pattern, text in (
        (ROOT / "docs/reliability.md", _TABLE, f"\n{table(totals)}\n{whole(totals)} inputs together. "),
        (ROOT / "README.md", _README, whole(totals)),
    ):
        before = path.read_text(encoding="utf-8")
        if not pattern.search(before):
            raise SystemExit(f"{path} has no place for the counts")
        found[path] = pattern.sub(lambda _, text=text: text, before, count=1)
    return found


def main() -> None:
    totals = read_totals()
    print(table(totals), f"{whole(totals)} inputs of {len(totals)} readers", sep="\n")
    if sys.argv[1:] == ["--write"]:
        for path, text in written(totals).items():
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
