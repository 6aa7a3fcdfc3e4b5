// The selective scan and its gradient in one pass over memory; see selective_scan.py, whose loops these are.
//
// Plain C++ without PyTorch's headers: it compiles in seconds with any compiler, and needs neither Python's headers nor
// ninja. Each sequence is one thread's; its states, (state, dim), stay in the first cache. The innermost loops run over
// features, which all lie side by side, so that compilers make vectors of them whatever the number of states.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "exponential.hpp"

namespace {

// A is (state, dim) here; carried, where it is wanted, gets the states before every `span` frames.
template <typename T>
void forward(const T* inputs, const T* step, const T* A, const T* B, const T* C, const T* D, T* outputs, T* carried,
             int64_t batch, int64_t frames, int64_t dim, int64_t states, int64_t span, int threads) {
  const int64_t size = states * dim, spans = (frames + span - 1) / span;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < batch; ++row) {
    std::vector<T> state(size, T(0)), drive(dim);
    for (int64_t frame = 0; frame < frames; ++frame) {
      const T* x = inputs + (row * frames + frame) * dim;
      const T* dt = step + (row * frames + frame) * dim;
      const T* b = B + (row * frames + frame) * states;
      const T* c = C + (row * frames + frame) * states;
      T* y = outputs + (row * frames + frame) * dim;
      if (carried && frame % span == 0)
        std::copy(state.begin(), state.end(), carried + (row * spans + frame / span) * size);
#pragma omp simd
      for (int64_t d = 0; d < dim; ++d) {
        y[d] = D[d] * x[d];
        drive[d] = dt[d] * x[d];
      }
      for (int64_t s = 0; s < states; ++s) {
        T* h = state.data() + s * dim;
        const T* rate = A + s * dim;
        const T* driven = drive.data();
        const T b_now = b[s], c_now = c[s];
#pragma omp simd
        for (int64_t d = 0; d < dim; ++d) {
          h[d] = exponential(dt[d] * rate[d]) * h[d] + driven[d] * b_now;
          y[d] += c_now * h[d];
        }
      }
    }
  }
}

// grad_A has a plane for every row, (batch, state, dim).
template <typename T>
void backward(const T* inputs, const T* step, const T* A, const T* B, const T* C, const T* D, const T* carried,
              const T* grad, T* grad_inputs, T* grad_step, T* grad_A, T* grad_B, T* grad_C, int64_t batch,
              int64_t frames, int64_t dim, int64_t states, int64_t span, int threads) {
  const int64_t size = states * dim, spans = (frames + span - 1) / span;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < batch; ++row) {
    std::vector<T> known((span + 1) * size), decays(span * size), arriving(size, T(0)), of_drive(dim), of_step(dim);
    T* of_A = grad_A + row * size;
    std::fill(of_A, of_A + size, T(0));
    for (int64_t index = spans - 1; index >= 0; --index) {
      const int64_t first = index * span, count = std::min(span, frames - first);
      std::copy_n(carried + (row * spans + index) * size, size, known.data());
      for (int64_t at = 0; at < count; ++at) {
        const int64_t frame = row * frames + first + at;
        const T *x = inputs + frame * dim, *dt = step + frame * dim, *b = B + frame * states;
        for (int64_t s = 0; s < states; ++s) {
          const T *rate = A + s * dim, *before = known.data() + at * size + s * dim;
          T *now = known.data() + (at + 1) * size + s * dim, *decay = decays.data() + at * size + s * dim;
          const T b_now = b[s];
#pragma omp simd
          for (int64_t d = 0; d < dim; ++d) {
            decay[d] = exponential(dt[d] * rate[d]);
            now[d] = decay[d] * before[d] + dt[d] * x[d] * b_now;
          }
        }
      }
      for (int64_t at = count - 1; at >= 0; --at) {
        const int64_t frame = row * frames + first + at;
        const T *x = inputs + frame * dim, *dt = step + frame * dim, *dy = grad + frame * dim;
        std::fill(of_drive.begin(), of_drive.end(), T(0));
        std::fill(of_step.begin(), of_step.end(), T(0));
        T *driven = of_drive.data(), *stepped = of_step.data();
        for (int64_t s = 0; s < states; ++s) {
          const T b_now = B[frame * states + s], c_now = C[frame * states + s];
          const T *rate = A + s * dim, *before = known.data() + at * size + s * dim, *now = before + size;
          const T* decay = decays.data() + at * size + s * dim;
          T *later = arriving.data() + s * dim, *rates = of_A + s * dim;
          T of_B = 0, of_C = 0;
#pragma omp simd reduction(+ : of_B, of_C)
          for (int64_t d = 0; d < dim; ++d) {
            const T g = c_now * dy[d] + later[d], kept = decay[d] * g, q = kept * before[d];
            of_C += dy[d] * now[d];
            of_B += g * dt[d] * x[d];
            driven[d] += g * b_now;
            stepped[d] += q * rate[d];
            rates[d] += q * dt[d];
            later[d] = kept;
          }
          grad_B[frame * states + s] = of_B;
          grad_C[frame * states + s] = of_C;
        }
#pragma omp simd
        for (int64_t d = 0; d < dim; ++d) {
          grad_step[frame * dim + d] = stepped[d] + driven[d] * x[d];
          grad_inputs[frame * dim + d] = driven[d] * dt[d] + D[d] * dy[d];
        }
      }
    }
  }
}

}  // namespace

#define BOTH(T, name)                                                                                                  \
  void scan_forward_##name(const T* x, const T* dt, const T* A, const T* B, const T* C, const T* D, T* y, T* carried, \
                           int64_t batch, int64_t frames, int64_t dim, int64_t states, int64_t span, int threads) {   \
    forward<T>(x, dt, A, B, C, D, y, carried, batch, frames, dim, states, span, threads);                             \
  }                                                                                                                    \
  void scan_backward_##name(const T* x, const T* dt, const T* A, const T* B, const T* C, const T* D, const T* carried, \
                            const T* dy, T* gx, T* gdt, T* gA, T* gB, T* gC, int64_t batch, int64_t frames,           \
                            int64_t dim, int64_t states, int64_t span, int threads) {                                 \
    backward<T>(x, dt, A, B, C, D, carried, dy, gx, gdt, gA, gB, gC, batch, frames, dim, states, span, threads);      \
  }

extern "C" {
BOTH(float, float32)
BOTH(double, float64)
}
