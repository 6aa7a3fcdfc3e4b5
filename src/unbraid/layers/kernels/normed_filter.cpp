// Short filters over features that a norm has yet to scale, in one pass over memory; see normed_filter.py.
//
// What is filtered is never written: frame t is x[t] * factor[near] + summand[near], where factor and summand have
// `coarse` frames and near is the one that nearest-neighbour resizing takes; negative values are then multiplied by the
// slope.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "exponential.hpp"

namespace {

constexpr int64_t BLOCK = 64;  // frames over which moments are summed, the same ones whatever the number of threads
constexpr int64_t LANES = 16;  // features that are held in one register, or in two or four

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

inline Lanes& at(float* place) { return *reinterpret_cast<Lanes*>(place); }
inline const Lanes& at(const float* place) { return *reinterpret_cast<const Lanes*>(place); }

// Room for a frame in a buffer: an odd number of registers, or frames that lie a power of two apart would all fall into
// the same few places of the first cache.
int64_t padded(int64_t dim) { return ((dim + LANES - 1) / LANES | 1) * LANES; }

// Rows of `dim` numbers, `width` apart and with zeros behind.
std::vector<float> spread(const float* rows, int64_t count, int64_t dim, int64_t width) {
  std::vector<float> out(count * width, 0.0f);
  if (rows)
    for (int64_t row = 0; row < count; ++row) std::copy_n(rows + row * dim, dim, out.data() + row * width);
  return out;
}

struct Mapped {
  const float *x, *factor, *summand, *slope;  // factor and summand, or the slope, may be missing
  int64_t frames, coarse, dim;
};

inline void map_frame(const Mapped& of, int64_t row, int64_t frame, float* out) {
  const float* x = of.x + (row * of.frames + frame) * of.dim;
  if (of.factor) {
    const int64_t near = row * of.coarse + frame * of.coarse / of.frames;
    const float *factor = of.factor + near * of.dim, *summand = of.summand + near * of.dim;
#pragma omp simd
    for (int64_t d = 0; d < of.dim; ++d) out[d] = x[d] * factor[d] + summand[d];
  } else {
    std::copy_n(x, of.dim, out);
  }
  if (of.slope) {
    const float slope = *of.slope;
#pragma omp simd
    for (int64_t d = 0; d < of.dim; ++d) out[d] = out[d] < 0 ? out[d] * slope : out[d];
  }
}

// Each feature's sums over a block of differences from the block's first frame, and of their squares: the mean is not
// far from that frame, so that little is lost when its square is taken off.
struct Sums {
  std::vector<float> first, plain, squared;

  explicit Sums(int64_t width) : first(width), plain(width), squared(width) {}

  void begin() {
    std::fill(plain.begin(), plain.end(), 0.0f);
    std::fill(squared.begin(), squared.end(), 0.0f);
  }

  // Of one frame; `lanes` gives its features from the d-th on.
  template <typename F>
  inline void add(int64_t dim, bool begins, const F& lanes) {
    // Local copies: a store to memory may otherwise have moved the vectors, for all that a compiler knows.
    float *const from = first.data(), *const one = plain.data(), *const two = squared.data();
    if (begins) {
      for (int64_t d = 0; d < dim; d += LANES) at(from + d) = lanes(d);
      return;
    }
    for (int64_t d = 0; d < dim; d += LANES) {
      const Lanes off = lanes(d) - at(from + d);
      at(one + d) += off;
      at(two + d) += off * off;
    }
  }

  // The mean, and the sum of squared differences from it.
  void finish(int64_t count, float* mean, float* squares, int64_t dim) const {
    const float share = 1.0f / count;
    for (int64_t d = 0; d < dim; ++d) {
      mean[d] = first[d] + plain[d] * share;
      squares[d] = squared[d] - plain[d] * plain[d] * share;
    }
  }
};

// One frame that comes out, from the frames under the taps.
template <int TAPS>
void filter_frame(const float* const* under, const float* taps, const float* bias, float* y, int64_t dim, int64_t width,
                  int64_t num_taps, Sums& sums, bool begins) {
  const float *z[TAPS ? TAPS : 1], *w[TAPS ? TAPS : 1];
  for (int k = 0; k < TAPS; ++k) {
    z[k] = under[k];
    w[k] = taps + k * width;
  }
  sums.add(dim, begins, [&](int64_t d) {
    Lanes sum = at(bias + d);
    if constexpr (TAPS > 0)
      for (int k = 0; k < TAPS; ++k) sum += at(w[k] + d) * at(z[k] + d);
    else
      for (int64_t k = 0; k < num_taps; ++k) sum += at(taps + k * width + d) * at(under[k] + d);
    if (d + LANES <= dim)
      at(y + d) = sum;
    else
      std::copy_n(reinterpret_cast<const float*>(&sum), dim - d, y + d);
    return sum;
  });
}

// From those of all blocks (plane, block, dim) to those of all frames (plane, dim), the second one divided by them.
void join_blocks(const float* means, const float* squares, float* mean, float* variance, int64_t planes, int64_t frames,
                 int64_t dim) {
  const int64_t blocks = (frames + BLOCK - 1) / BLOCK;
  std::vector<double> overall(dim), spread(dim);
  for (int64_t plane = 0; plane < planes; ++plane) {
    const float *own = means + plane * blocks * dim, *own_squares = squares + plane * blocks * dim;
    std::fill(overall.begin(), overall.end(), 0.0);
    std::fill(spread.begin(), spread.end(), 0.0);
    for (int64_t block = 0; block < blocks; ++block) {
      const double count = std::min(BLOCK, frames - block * BLOCK);
      for (int64_t d = 0; d < dim; ++d) overall[d] += count * own[block * dim + d];
    }
    for (int64_t d = 0; d < dim; ++d) overall[d] /= frames;
    for (int64_t block = 0; block < blocks; ++block) {
      const double count = std::min(BLOCK, frames - block * BLOCK);
      for (int64_t d = 0; d < dim; ++d) {
        const double off = own[block * dim + d] - overall[d];
        spread[d] += own_squares[block * dim + d] + count * off * off;
      }
    }
    for (int64_t d = 0; d < dim; ++d) {
      mean[plane * dim + d] = overall[d];
      variance[plane * dim + d] = spread[d] / frames;
    }
  }
}

}  // namespace

extern "C" {

// `filters` of (filter, tap, dim) and, or not, bias (filter, dim); y is (filter, row, out_frame, dim), mean and
// variance (filter, row, dim).
void filter_mapped(const float* x, const float* factor, const float* summand, const float* slope, const float* filters,
                   const float* bias, float* y, float* mean, float* variance, int64_t rows, int64_t frames,
                   int64_t coarse, int64_t dim, int64_t num_filters, int64_t num_taps, int64_t stride, int threads) {
  const Mapped of{x, factor, summand, slope, frames, coarse, dim};
  const int64_t outs = (frames + stride - 1) / stride, blocks = (outs + BLOCK - 1) / BLOCK, half = num_taps / 2;
  std::vector<float> means(num_filters * rows * blocks * dim), squares(means.size());
  const int64_t width = padded(dim);
  const std::vector<float> taps = spread(filters, num_filters * num_taps, dim, width);
  const std::vector<float> shifts = spread(bias, num_filters, dim, width);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    // The mapped frames under the taps: frame f lies at f modulo their number.
    std::vector<float> mapped(num_taps * width, 0.0f);
    std::vector<const float*> under(num_taps);
    std::vector<Sums> sums(num_filters, Sums(width));
    const std::vector<float> silence(width, 0.0f);
    const auto run = num_taps == 5 ? filter_frame<5> : num_taps == 1 ? filter_frame<1> : filter_frame<0>;
#pragma omp for
    for (int64_t piece = 0; piece < rows * blocks; ++piece) {
      const int64_t row = piece / blocks, first = piece % blocks * BLOCK, last = std::min(first + BLOCK, outs);
      int64_t ready = first * stride - half;
      for (Sums& own : sums) own.begin();
      for (int64_t t = first; t < last; ++t) {
        const int64_t begin = t * stride - half;
        for (ready = std::max(ready, begin); ready < std::min(begin + num_taps, frames); ++ready)
          if (ready >= 0) map_frame(of, row, ready, mapped.data() + ready % num_taps * width);
        for (int64_t k = 0; k < num_taps; ++k) {
          const int64_t frame = begin + k;
          under[k] = frame < 0 || frame >= frames ? silence.data() : mapped.data() + frame % num_taps * width;
        }
        for (int64_t filter = 0; filter < num_filters; ++filter)
          run(under.data(), taps.data() + filter * num_taps * width, shifts.data() + filter * width,
              y + ((filter * rows + row) * outs + t) * dim, dim, width, num_taps, sums[filter], t == first);
      }
      for (int64_t filter = 0; filter < num_filters; ++filter) {
        const int64_t place = (filter * rows * blocks + piece) * dim;
        sums[filter].finish(last - first, means.data() + place, squares.data() + place, dim);
      }
    }
  }
  join_blocks(means.data(), squares.data(), mean, variance, num_filters * rows, outs, dim);
}

// Each feature's mean and variance over frames.
void take_moments(const float* x, float* mean, float* variance, int64_t rows, int64_t frames, int64_t dim, int threads) {
  const int64_t blocks = (frames + BLOCK - 1) / BLOCK;
  std::vector<float> means(rows * blocks * dim), squares(means.size());
  const int64_t width = padded(dim);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Sums sums(width);
#pragma omp for
    for (int64_t piece = 0; piece < rows * blocks; ++piece) {
      const int64_t row = piece / blocks, first = piece % blocks * BLOCK, last = std::min(first + BLOCK, frames);
      sums.begin();
      for (int64_t t = first; t < last; ++t) {
        const float* frame = x + (row * frames + t) * dim;
        sums.add(dim, t == first, [&](int64_t d) {
          Lanes part{};
          if (d + LANES <= dim)
            part = at(frame + d);
          else
            std::copy_n(frame + d, dim - d, reinterpret_cast<float*>(&part));
          return part;
        });
      }
      sums.finish(last - first, means.data() + piece * dim, squares.data() + piece * dim, dim);
    }
  }
  join_blocks(means.data(), squares.data(), mean, variance, rows, frames, dim);
}

// What is mapped, written.
void write_mapped(const float* x, const float* factor, const float* summand, const float* slope, float* y, int64_t rows,
                  int64_t frames, int64_t coarse, int64_t dim, int threads) {
  const Mapped of{x, factor, summand, slope, frames, coarse, dim};
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t piece = 0; piece < rows * frames; ++piece)
    map_frame(of, piece / frames, piece % frames, y + piece * dim);
}

// Of every frame  gate = sigmoid(g * gate_scale + gate_offset),  then  factor = gate * scale  and
// summand = s * shift_scale + shift_offset + gate * offset; the scales and offsets are (row, dim).
void fuse_gates(const float* g, const float* gate_scale, const float* gate_offset, const float* s,
                const float* shift_scale, const float* shift_offset, const float* scale, const float* offset,
                float* factor, float* summand, int64_t rows, int64_t frames, int64_t dim, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t piece = 0; piece < rows * frames; ++piece) {
    const int64_t of_row = piece / frames * dim, at = piece * dim;
#pragma omp simd
    for (int64_t d = 0; d < dim; ++d) {
      const float gate = 1.0f / (1.0f + exponential(-(g[at + d] * gate_scale[of_row + d] + gate_offset[of_row + d])));
      factor[at + d] = gate * scale[of_row + d];
      summand[at + d] = s[at + d] * shift_scale[of_row + d] + shift_offset[of_row + d] + gate * offset[of_row + d];
    }
  }
}

}  // extern "C"
