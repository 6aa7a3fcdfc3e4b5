"""The site has every page and every public name, and the README's table of models says what the data say.

`make docs` builds it, and fails on warnings and on links that lead nowhere.
"""

import re
import tomllib
from pathlib import Path

import yaml
from benchmarks.pages.model_table import MARK, costs_of, table

from unbraid.weights.listing import bundled_models

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def pages_of(nav):
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_menu():
    there = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(pages_of(yaml.safe_load(SETTINGS)["nav"])) == there


def test_every_package_has_its_page_of_the_api():
    """A page shows all public names of its package."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    source = ROOT / "src" / "unbraid"
    rooms = [path.parent.name for path in source.glob("*/__init__.py")] + ["errors", "axes"]
    rooms.remove("cli")
    assert [room for room in sorted(rooms) if f"::: unbraid.{room}\n" not in pages] == []


def test_the_table_of_models_is_made_from_data():
    """Where this fails, `python -m benchmarks.pages.model_table` writes it anew."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split(f"<!-- {MARK} -->\n")[1].split(f"\n<!-- /{MARK} -->")[0]
    costs = costs_of(readme)
    assert shown == table(costs)
    assert set(costs) == set(bundled_models())
    assert all(float(cost) > 0 for cost in costs.values()), "python -m benchmarks.pages.model_table --measure"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_extras_are_installed_by_one_command_that_works_anywhere():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")]
    for page in pages:
        for where, named in re.findall(r"pip install ['\"](\.|unbraid)\[([\w,]+)\]", page.read_text(encoding="utf-8")):
            assert where == "unbraid", f"{page.name}: '.[{named}]' works in a clone only"
            assert set(named.split(",")) <= set(extras), f"{page.name}: {named}"


def slug(heading):
    """The anchor of a heading, where GitHub and the site agree; links need one on which they do."""
    words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
    assert "  " not in words, f"'{heading}' has another anchor on the site than on GitHub"
    return words.replace(" ", "-")


def test_links_into_pages_find_their_heading():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
            there = (page.parent / target if target else page).read_text(encoding="utf-8")
            found = [heading for heading in re.findall(r"^#+ (.*)$", there, re.M) if heading_matches(heading, anchor)]
            assert found, f"{page.name} links to {target}#{anchor}"


def heading_matches(heading, anchor):
    return re.sub(r"[\W_]+", "", heading).lower() == re.sub(r"[\W_]+", "", anchor).lower() and slug(heading) == anchor
