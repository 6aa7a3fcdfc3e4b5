// e^x in a form that compilers make vectors of, for float and double.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

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
