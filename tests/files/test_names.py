import pytest

from unbraid.files.names import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mred\a.wav", r"a\x1b[31mred\x07.wav"),
        ("two\nlines\r.wav", r"two\nlines\r.wav"),
        ("csi\x9b31m.wav", r"csi\x9b31m.wav"),
        ("turned\u202evaw.exe", r"turned\u202evaw.exe"),
        ("broken\udcff.wav", r"broken\udcff.wav"),
        ("naïve 日本 👩\u200d🎤.wav", "naïve 日本 👩\u200d🎤.wav"),
        (r"back\slash.wav", r"back\slash.wav"),
    ],
)
def test_nothing_in_a_name_steers_a_terminal(name: str, shown: str):
    assert printable(name) == shown
