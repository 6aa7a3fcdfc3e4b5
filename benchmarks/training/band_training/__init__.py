"""Trains a model with a fixed filterbank on powers in bands instead of audio, at a tenth of the time.

    python -m benchmarks.training.band_training measure CORPUS... BANDS    powers of all stems; what is there is skipped
    python -m benchmarks.training.band_training train BANDS OUT --cpu-seconds 1000     resumes where it stopped

What `models/sfc/filterbank.py` sees and masks are powers in narrow bands, and those of a mixture follow from the
powers of its sources, their levels and their phases. Phases are drawn, and matter the less the more bins a band has. So
a step needs no audio, no STFT and no masks of single bins.

    measure.py   audio of a corpus -> powers of its stems, and of real mixtures for validation
    draw.py      powers of stems -> sources of an example, varied in level, colour, room and dynamics
    learn.py     sources -> powers of their mixture -> masks -> loss; validation; the run
"""
