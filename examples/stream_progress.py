"""Separates a recording of any length in constant memory and tells how far it is; stems go to the disk as they come.

python examples/stream_progress.py examples/two-speakers-1/mixture.flac
"""

import sys
from pathlib import Path

import unbraid
from unbraid.audio.formats import Encoding
from unbraid.output.stem_files import StemWriters
from unbraid.separation.events import Block, Finished, Progress, Started

path = Path(sys.argv[1])
model = sys.argv[2] if len(sys.argv) > 2 else "speech"

writers = None
for event in unbraid.Separator(model).stream(path):
    match event:
        case Started():
            targets = {name: path.with_name(f"{path.stem}-{name}.wav") for name in event.stems}
            writers = StemWriters(targets, event.sample_rate, event.num_channels, Encoding())
        case Progress():
            print(f"{event.stage}: {event.done_seconds:.1f} s of {event.expected_seconds or float('nan'):.1f} s")
        case Block():
            assert writers is not None
            writers.write(event.samples)
        case Finished():
            assert writers is not None
            writers.commit()
            print(f"{event.num_samples} samples in {event.model_seconds:.1f} s")
