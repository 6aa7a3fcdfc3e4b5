import pickle
import re
from pathlib import Path

import pytest

import unbraid
from unbraid import errors
from unbraid.data.clips import UnreadableFilesError
from unbraid.errors import AudioReadError, ConfigError, DataError, MissingExtraError, MissingPackageError, UnbraidError

OF_OTHER_PROGRAMS = {"--allowroot", "--no-deps", "--head"}
"""Of LMMS, of pip and of Ray."""
OF_PACKAGES = (MissingExtraError, MissingPackageError)
SOURCE = Path(unbraid.__file__).parent


def test_subject_reason_and_remedy_read_as_one_sentence():
    error = AudioReadError("is empty", subject="'a.wav'", remedy="get another copy")
    assert str(error) == "'a.wav' is empty: get another copy"
    assert error.predicate == "is empty: get another copy"
    assert str(ConfigError("no stems")) == "no stems"
    assert str(DataError.of(error)) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        *(
            kind("is empty", subject="'a.wav'", remedy="get another copy")
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, UnbraidError) and kind not in OF_PACKAGES
        ),
        MissingExtraError("matplotlib", "report", "a report"),
        UnreadableFilesError({"a.wav": DataError("is empty", subject="'a.wav'"), "b": DataError("is gone")}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_whole_from_other_processes(error: UnbraidError):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.subject, back.reason, back.remedy) == (
        str(error),
        error.subject,
        error.reason,
        error.remedy,
    )


def test_only_the_command_line_knows_its_options():
    naming = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in sorted(SOURCE.rglob("*.py"))
        # A recipe's documentation says how to run it.
        if path.relative_to(SOURCE).parts[0] not in ("cli", "recipes")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) - OF_OTHER_PROGRAMS
    ]
    assert naming == []
