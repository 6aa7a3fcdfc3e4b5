"""Separates a recording of two speakers and writes one file per speaker beside it.

python examples/separate_file.py examples/two-speakers-1/mixture.flac
"""

import sys
from pathlib import Path

import unbraid

path = Path(sys.argv[1])
model = sys.argv[2] if len(sys.argv) > 2 else "speech"

stems = unbraid.Separator(model).separate(path)
for name, recording in stems.items():
    target = path.with_name(f"{path.stem}-{name}.wav")
    recording.write(target)
    print(f"{target}: {recording.seconds:.1f} s at {recording.sample_rate} Hz")
