"""The compiled loops neither read nor write past the ends of their operands, as the compiler's sanitizers see it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import unbraid.layers.kernels

KERNELS = Path(unbraid.layers.kernels.__file__).parent
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
FLAGS = (
    "-O1",
    "-g",
    "-std=c++17",
    "-march=native",
    "-fopenmp",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover",
)


def build(source: Path, program: Path) -> None:
    nothing = program.with_suffix(".cpp")
    nothing.write_text("int main() {}")
    if _compile(nothing, program).returncode:
        pytest.skip("this compiler has no sanitizers")
    done = _compile(source, program)
    assert done.returncode == 0, done.stderr


def _compile(source: Path, program: Path) -> subprocess.CompletedProcess[str]:
    command = [str(COMPILER), *FLAGS, f"-I{KERNELS}", str(source), "-o", str(program)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_no_loop_leaves_its_operands(tmp_path):
    build(Path(__file__).with_name("sanitized.cpp"), tmp_path / "sanitized")
    done = subprocess.run([str(tmp_path / "sanitized")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout == "100 rounds\n"


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_a_loop_that_did_would_be_seen(tmp_path):
    source = tmp_path / "past.cpp"
    text = Path(__file__).with_name("sanitized.cpp").read_text(encoding="utf-8")
    assert "Floats y(count * rows * outs * dim)," in text
    source.write_text(text.replace("Floats y(count * rows * outs * dim),", "Floats y(count * rows * outs * dim - 1),"))
    build(source, tmp_path / "seen")
    done = subprocess.run([str(tmp_path / "seen")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
