// The selective scan and its gradient in one pass over memory; see selective_scan.py, whose loops these are.
//
// Plain C++ without PyTorch's headers: it compiles in seconds with any compiler, and needs neither Python's headers nor
// ninja. Each sequence is one thread's; its states, (state, dim), stay in the first cache. The innermost loops run over
// features, which all lie side by side, so that compilers make vectors of them whatever the number of states.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

template <typename T> struct Bits;
template <> struct Bits<float> {
  using Integer = int32_t;
  static constexpr float magic = 12582912.0f, high = 0.693359375f, low = -2.12194440e-4f, least = -87.0f, most = 88.0f;
  static constexpr int mantissa = 23, bias = 127;
};
template <> struct Bits<double> {
  using Integer = int64_t;
  static constexpr double magic = 6755399441055744.0, high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10,
                          least = -708.0, most = 709.0;
  static constexpr int mantissa = 52, bias = 1023;
};

// e^x = 2^n e^f with n whole and |f| <= ln(2) / 2, where a Taylor series of so many terms is exact to rounding.
template <typename T> inline T exponential(T x) {
  using B = Bits<T>;
  x = x < B::least ? B::least : x;  // NaN passes both comparisons
  x = x > B::most ? B::most : x;
  const T shifted = x * T(1.4426950408889634) + B::magic;
  const T whole = shifted - B::magic;
  const T f = (x - whole * B::high) - whole * B::low;
  T series;
  if constexpr (sizeof(T) == 4) {
    series = T(1.0 / 5040);
  } else {
    series = T(1.0 / 6227020800.0);
    series = series * f + T(1.0 / 479001600.0);
    series = series * f + T(1.0 / 39916800.0);
    series = series * f + T(1.0 / 3628800.0);
    series = series * f + T(1.0 / 362880.0);
    series = series * f + T(1.0 / 40320.0);
    series = series * f + T(1.0 / 5040.0);
  }
  series = series * f + T(1.0 / 720);
  series = series * f + T(1.0 / 120);
  series = series * f + T(1.0 / 24);
  series = series * f + T(1.0 / 6);
  series = series * f + T(0.5);
  series = series * f + T(1);
  series = series * f + T(1);
  // The last bits of the sum hold n; moved up they are the exponent of 2^n.
  typename B::Integer bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  using Unsigned = std::make_unsigned_t<typename B::Integer>;
  const Unsigned moved = (static_cast<Unsigned>(bits) + B::bias) << B::mantissa;
  T power;
  std::memcpy(&power, &moved, sizeof power);
  return series * power;
}

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
