"""Scripts that print what docs/benchmarks.md and the models' pages state; `python -m benchmarks` runs a first few."""
