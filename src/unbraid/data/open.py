"""Opens a data set of any known layout."""

from __future__ import annotations

from pathlib import Path

from unbraid.data.clips import UnreadableFilesError, clips_of
from unbraid.data.items import Dataset, Split
from unbraid.data.layouts.csv_list import LIST
from unbraid.data.layouts.dnr import DNR_V2, DNR_V3
from unbraid.data.layouts.layout import SPLITS, Layout, NoSplitError
from unbraid.data.layouts.librimix import LIBRIMIX
from unbraid.data.layouts.librispeech import LIBRISPEECH
from unbraid.data.layouts.moisesdb import MOISESDB
from unbraid.data.layouts.musdb18 import MUSDB18, MUSDB18_HQ
from unbraid.data.layouts.songs import SONGS
from unbraid.data.layouts.source_folders import POOLS
from unbraid.data.layouts.unbraid_corpus import CORPUS
from unbraid.data.layouts.wham import WHAM, WHAMR
from unbraid.data.layouts.wsj0 import WSJ0
from unbraid.data.layouts.wsj0_mix import LRS2_MIX, WSJ0_MIX
from unbraid.errors import DataError, UnknownNameError
from unbraid.files.cache import user_path
from unbraid.files.names import printable

LAYOUTS: tuple[Layout, ...] = (
    CORPUS,
    LIST,
    WHAMR,
    LIBRIMIX,
    WHAM,
    LRS2_MIX,
    WSJ0_MIX,
    WSJ0,
    LIBRISPEECH,
    MUSDB18,
    MUSDB18_HQ,
    DNR_V2,
    DNR_V3,
    MOISESDB,
    SONGS,
    POOLS,
)
"""Every known layout, in the order in which they are tried: what is told by names first, what is told by form last."""


def open_dataset(root: Path, split: Split, layout: str = "auto") -> Dataset:
    """One split of the data set at `root`.

    `layout` is "auto" or the name of one, either with options after a colon: "librimix:noisy". Raises DataError,
    saying what is known and what was found, if it is not a data set, and NoSplitError (a DataError) if it has no such
    split.
    """
    known, start, options = find_layout(root, layout)
    return known.open(start, split, options)


def open_splits(root: Path, layout: str = "auto") -> list[Dataset]:
    """All splits that the data set has; raises one UnreadableFilesError for the files of all of them."""
    known, start, options = find_layout(root, layout)
    datasets, missing = [], None
    broken: list[UnreadableFilesError] = []
    for split in SPLITS:
        try:
            datasets.append(known.open(start, split, options))
        except NoSplitError as error:
            missing = missing or error
        except UnreadableFilesError as error:
            broken.append(error)
    if broken:
        files = {path: why for error in broken for path, why in error.files.items()}
        clips = [clip for error in broken for clip in error.clips]
        raise UnreadableFilesError(files, [*clips, *(clip for dataset in datasets for clip in clips_of(dataset))])
    if not datasets and missing is not None:
        raise missing
    return datasets


def find_layout(root: Path, layout: str = "auto") -> tuple[Layout, Path, frozenset[str]]:
    """The layout of the data set at `root`, the folder in which it begins, and the options that `layout` names."""
    root = user_path(root) or Path(root)
    if not root.exists():
        raise DataError("does not exist", subject=f"'{printable(root)}'", remedy="check the name of the data folder")
    name, _, rest = layout.partition(":")
    if name == "auto":
        for known in LAYOUTS if root.is_dir() else (LIST,):
            start = known.find(root)
            if start is not None:
                return known, start, _options(known, rest)
        raise DataError(_nothing_known(root))
    known, options = parse_layout(layout)
    start = known.find(root) if root.is_dir() or known is LIST else None
    if start is None:
        raise DataError(
            f"is not laid out as '{known.name}', which is: {known.about}; it holds {_contents(root)}",
            subject=f"'{printable(root)}'",
        )
    return known, start, options


def parse_layout(layout: str) -> tuple[Layout, frozenset[str]]:
    """The layout and the options that a name such as "librimix:noisy,train-100" says."""
    name, _, rest = layout.partition(":")
    known = next((one for one in LAYOUTS if one.name == name), None)
    if known is None:
        raise UnknownNameError(f"there is no layout '{name}'; there are: {', '.join(one.name for one in LAYOUTS)}")
    return known, _options(known, rest)


def _options(known: Layout, text: str) -> frozenset[str]:
    options = frozenset(option for option in text.split(",") if option)
    if unknown := sorted(options - known.options.keys()):
        choices = ", ".join(known.options) or "none"
        raise UnknownNameError(f"the layout '{known.name}' has no option '{unknown[0]}'; it has: {choices}")
    return options


def _nothing_known(root: Path) -> str:
    names = ", ".join(layout.name for layout in LAYOUTS)
    return (
        f"'{printable(root)}' is not laid out in a way that is known ({names}): it holds {_contents(root)}; "
        "`LAYOUTS` says what each looks like"
    )


def _contents(root: Path) -> str:
    if root.is_file():
        return "a single file"
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir())
    if not names:
        return "nothing"
    return ", ".join(printable(name) for name in names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
