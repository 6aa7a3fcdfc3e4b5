"""Lists that somebody has edited, or that are other tables: one sentence with the line and the column."""

import pytest

from unbraid.data.lists.scenes import holds_scenes, read_scenes
from unbraid.data.lists.speaker_pairs import holds_noise, read_list
from unbraid.errors import DataError

SCENES = "scene,scene_seconds,scene_rate,source,item,read_from,seconds,at,gain\n"
SPEAKERS = "name,first,second,first_gain,second_gain,num_samples,collections,sexes,level_difference_db,noise,noise_at\n"


def complaint(path, text, read):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"'{path}'")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("a,2,8000,music,x,0,1,0,nan", "line 2 has 'nan' as its gain"),
        ("a,2,8000,music,x,0,1,3,1", "line 2 has '3' as its at"),  # beyond the end
        ("a,2,8000,music,x,-1,1,0,1", "line 2 has '-1' as its read_from"),
        ("a,1e9,8000,music,x,0,1,0,1", "line 2 has '1e9' as its scene_seconds"),
        ("a,2,0,music,x,0,1,0,1", "line 2 has '0' as its scene_rate"),
        ("a,2,²,music,x,0,1,0,1", "line 2 has '²' as its scene_rate"),
        ("a,2,8000,music,x", "line 2 has no 'read_from'"),
        ("a,2,8000,music,x,0,1,0,1\na,2,8000,music,x,0,\x1b,0,1", "line 3 has '\\x1b' as its seconds"),
    ],
)
def test_scenes_that_cannot_be(tmp_path, row, what):
    assert what in complaint(tmp_path / "scenes.csv", SCENES + row, read_scenes)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("a,x,y,1,1", "line 2 has no 'num_samples'"),
        ("a,x,y,1,inf,8,c,f,0,,", "line 2 has 'inf' as its second_gain"),
        ("a,x,y,1,1,8.5,c,f,0,,", "line 2 has '8.5' as its num_samples"),
        ("a,x,y,1,1,99999999999,c,f,0,,", "line 2 has '99999999999' as its num_samples"),
        ("a,x,y,1,1,8,c,f,0,n.wav,1", "line 2 has no 'noise_from'"),
    ],
)
def test_mixtures_that_cannot_be(tmp_path, row, what):
    assert what in complaint(tmp_path / "speakers.csv", SPEAKERS + row, read_list)


@pytest.mark.parametrize("read", [holds_scenes, holds_noise, read_scenes, read_list])
def test_what_is_no_text_and_what_is_not_there(tmp_path, read):
    assert "cannot be read: 'utf-8' codec" in complaint(tmp_path / "a.csv", b"\xff\xfe", read)
    with pytest.raises(DataError, match=r"cannot be read.*No such file"):
        read(tmp_path / "b.csv")
