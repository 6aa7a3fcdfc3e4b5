"""How many packages does separating need, besides torch and what torch needs itself?"""

import re
from importlib.metadata import PackageNotFoundError, requires


def closure(package: str, seen: set[str]) -> set[str]:
    """The package and all that it requires without extras, as far as it is installed here."""
    if package in seen:
        return seen
    try:
        needed = requires(package) or []
    except PackageNotFoundError:
        return seen
    seen.add(package)
    for line in needed:
        if (
            "extra ==" not in line
            and "sys_platform == 'win32'" not in line
            and 'platform_system == "Windows"' not in line
        ):
            closure(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-"), seen)
    return seen


def run() -> None:
    ours = closure("unbraid", set()) - closure("torch", set()) - {"unbraid"}
    print(f"{len(ours)} packages: {', '.join(sorted(ours))}")


if __name__ == "__main__":
    run()
