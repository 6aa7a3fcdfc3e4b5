"""Writes requirements.lock: every package of an installation with its version and the hashes of what the index gave.

    python .ci/lock.py requirements.lock .           what unbraid needs; '.[serve]' for an extra
    pip install --require-hashes --no-deps -r requirements.lock

It holds for one system, one version of Python and one index, for torch above all: its wheels for CPU and CUDA have one
version and different hashes. That is why it is written where something is installed, while constraints.txt, which holds
everywhere, has the versions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def lines_of(report: dict[str, Any]) -> list[str]:
    """One for each package of a report of pip, but for those of this folder, which have no hash."""
    lines = []
    for item in report["install"]:
        facts, hashes = item["metadata"], item["download_info"].get("archive_info", {}).get("hashes", {})
        if "sha256" in hashes:
            lines.append(f"{facts['name']}=={facts['version']} --hash=sha256:{hashes['sha256']}")
        elif "dir_info" not in item["download_info"]:
            raise SystemExit(f"the index gives no hash of {facts['name']}")
    return sorted(lines, key=str.lower)


def main() -> None:
    target, *wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]
        options = ["--ignore-installed", "--constraint", "constraints.txt", "--report", str(report)]
        subprocess.run([*command, *options, *(wanted or ["."])], check=True)
        lines = lines_of(json.loads(report.read_text(encoding="utf-8")))
    Path(target).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} packages in {target}")


if __name__ == "__main__":
    main()
