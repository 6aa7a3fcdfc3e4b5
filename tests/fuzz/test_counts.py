"""What the documents say of the fuzzer is what it has counted."""

from tests.fuzz.counts import Total, add_counts, read_totals, written
from tests.fuzz.guided import Outcome
from tests.fuzz.harness import Counts
from tests.fuzz.readers import BUILDERS


def test_the_documents_have_the_counts():
    totals = read_totals()
    assert set(totals) <= {*BUILDERS, "onnx"}
    for path, text in written(totals).items():
        assert path.read_text(encoding="utf-8") == text, "run  python -m tests.fuzz.counts --write"


def test_runs_are_added_up(tmp_path):
    path = tmp_path / "counts.json"
    add_counts(path, "wav", Outcome(Counts(executions=10, read=7, refused=3), 1.0, edges=5, last_new=8))
    add_counts(path, "wav", Outcome(Counts(executions=10, read=6, refused=3, kinds=1), 1.0, edges=6, last_new=2))
    add_counts(path, "wav", Outcome(Counts(executions=10, read=6, refused=4), 1.0, edges=6, last_new=9))
    assert read_totals(path) == {"wav": Total(executions=30, read=19, refused=10, edges=6, last_new=12)}
