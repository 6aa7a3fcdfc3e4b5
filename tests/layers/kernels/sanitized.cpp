// Calls every compiled loop with operands of random sizes, each in memory of its own that ends where it ends: built with
// the compiler's sanitizers, a read or write past an end stops the program. See test_sanitized.py.

#include <cstdio>
#include <memory>
#include <random>

#include "normed_filter.cpp"
#include "selective_scan.cpp"

namespace {

std::mt19937 generator(2026);

int64_t pick(int64_t from, int64_t to) { return std::uniform_int_distribution<int64_t>(from, to)(generator); }

// Exactly as many numbers as are named, or nothing.
template <typename T>
struct Operand {
  std::unique_ptr<T[]> numbers;

  explicit Operand(int64_t count, bool there = true) {
    if (!there) return;
    numbers.reset(new T[count]);
    std::normal_distribution<T> draw;
    for (int64_t at = 0; at < count; ++at) numbers[at] = draw(generator);
  }
  operator T*() { return numbers.get(); }
};

using Floats = Operand<float>;

void filters() {
  const int64_t rows = pick(1, 3), frames = pick(1, 200), coarse = pick(1, frames), dim = pick(1, 70);
  const int64_t count = pick(1, 3), taps = 2 * pick(0, 4) + 1, stride = pick(1, 3);
  const int64_t outs = (frames + stride - 1) / stride;
  const bool scaled = pick(0, 1), curved = pick(0, 1), shifted = pick(0, 1);
  const int threads = pick(1, 2);
  Floats x(rows * frames * dim), factor(rows * coarse * dim, scaled), summand(rows * coarse * dim, scaled);
  Floats slope(1, curved), weights(count * taps * dim), bias(count * dim, shifted);
  Floats y(count * rows * outs * dim), mean(count * rows * dim), variance(count * rows * dim);
  filter_mapped(x, factor, summand, slope, weights, bias, y, mean, variance, rows, frames, coarse, dim, count, taps,
                stride, threads);
  Floats written(rows * frames * dim), its_mean(rows * dim), its_variance(rows * dim);
  write_mapped(x, factor, summand, slope, written, rows, frames, coarse, dim, threads);
  take_moments(x, its_mean, its_variance, rows, frames, dim, threads);
}

void gates() {
  const int64_t rows = pick(1, 3), frames = pick(1, 60), dim = pick(1, 70), all = rows * frames * dim;
  Floats g(all), s(all), factor(all), summand(all);
  Floats a(rows * dim), b(rows * dim), c(rows * dim), d(rows * dim), e(rows * dim), f(rows * dim);
  fuse_gates(g, a, b, s, c, d, e, f, factor, summand, rows, frames, dim, pick(1, 2));
}

template <typename T, typename Forward, typename Backward>
void scans(Forward run, Backward run_back) {
  const int64_t batch = pick(1, 3), frames = pick(1, 100), dim = pick(1, 40), states = pick(1, 9), span = pick(1, 40);
  const int64_t wide = batch * frames * dim, narrow = batch * frames * states, spans = (frames + span - 1) / span;
  const int threads = pick(1, 2);
  Operand<T> x(wide), dt(wide), A(states * dim), B(narrow), C(narrow), D(dim), y(wide);
  Operand<T> carried(batch * spans * states * dim), nothing(0, false);
  run(x, dt, A, B, C, D, y, nothing, batch, frames, dim, states, span, threads);
  run(x, dt, A, B, C, D, y, carried, batch, frames, dim, states, span, threads);
  Operand<T> gx(wide), gdt(wide), gA(batch * states * dim), gB(narrow), gC(narrow);
  run_back(x, dt, A, B, C, D, carried, y, gx, gdt, gA, gB, gC, batch, frames, dim, states, span, threads);
}

}  // namespace

int main() {
  for (int round = 0; round < 100; ++round) {
    filters();
    gates();
    scans<float>(scan_forward_float32, scan_backward_float32);
    scans<double>(scan_forward_float64, scan_backward_float64);
  }
  std::puts("100 rounds");
}
