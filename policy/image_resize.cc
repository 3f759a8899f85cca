#include <algorithm>
#include <cmath>

#include "policy/image_processor.h"

namespace swerve {
namespace {

// Integer weights of one axis: output i is the clamped, rounded sum over in[first[i] + k] * weights[i * stride + k].
struct Axis {
  int stride = 0, bits = 0;
  std::vector<int> first, count;
  std::vector<int32_t> weights;
};

double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

Axis MakeAxis(int in, int out, bool precise) {
  const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0), support = 2 * stretch;
  Axis axis;
  axis.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  axis.first.resize(out), axis.count.resize(out);
  std::vector<double> w(static_cast<size_t>(out) * axis.stride);
  double largest = 0;
  for (int i = 0; i < out; ++i) {
    const double centre = scale * (i + 0.5);
    const int lo = std::max(0, static_cast<int>(centre - support + 0.5));
    const int hi = std::min(in, static_cast<int>(centre + support + 0.5));
    double* row = &w[static_cast<size_t>(i) * axis.stride];
    double sum = 0;
    for (int k = lo; k < hi; ++k) sum += row[k - lo] = Cubic((k - centre + 0.5) / stretch);
    for (int k = lo; k < hi && sum != 0; ++k) largest = std::max(largest, row[k - lo] /= sum);
    axis.first[i] = lo, axis.count[i] = hi - lo;
  }
  axis.bits = 22;
  if (!precise) {
    // As many bits as the largest weight leaves in 16.
    for (axis.bits = 0; axis.bits < 22; ++axis.bits) {
      if (static_cast<int>(0.5 + largest * (1 << (axis.bits + 1))) >= 1 << 15) break;
    }
  }
  for (double v : w) axis.weights.push_back(static_cast<int32_t>(v * (1 << axis.bits) + (v < 0 ? -0.5 : 0.5)));
  return axis;
}

uint8_t Byte(int32_t sum, int bits) { return static_cast<uint8_t>(std::clamp(sum >> bits, 0, 255)); }

Image Across(const Image& in, int width, bool precise) {
  const Axis axis = MakeAxis(in.width, width, precise);
  Image out{in.height, width, std::vector<uint8_t>(static_cast<size_t>(in.height) * width * 3)};
  for (int y = 0; y < in.height; ++y) {
    const uint8_t* row = &in.rgb[static_cast<size_t>(y) * in.width * 3];
    uint8_t* to = &out.rgb[static_cast<size_t>(y) * width * 3];
    for (int x = 0; x < width; ++x, to += 3) {
      const int32_t* w = &axis.weights[static_cast<size_t>(x) * axis.stride];
      const uint8_t* p = row + static_cast<size_t>(axis.first[x]) * 3;
      int32_t r = 1 << (axis.bits - 1), g = r, b = r;
      for (int k = 0; k < axis.count[x]; ++k, p += 3) r += w[k] * p[0], g += w[k] * p[1], b += w[k] * p[2];
      to[0] = Byte(r, axis.bits), to[1] = Byte(g, axis.bits), to[2] = Byte(b, axis.bits);
    }
  }
  return out;
}

Image Down(const Image& in, int height, bool precise) {
  const Axis axis = MakeAxis(in.height, height, precise);
  const size_t line = static_cast<size_t>(in.width) * 3;
  Image out{height, in.width, std::vector<uint8_t>(line * height)};
  std::vector<int32_t> sums(line);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (axis.bits - 1));
    for (int k = 0; k < axis.count[y]; ++k) {
      const int32_t w = axis.weights[static_cast<size_t>(y) * axis.stride + k];
      const uint8_t* row = &in.rgb[(axis.first[y] + k) * line];
      for (size_t i = 0; i < line; ++i) sums[i] += w * row[i];
    }
    for (size_t i = 0; i < line; ++i) out.rgb[y * line + i] = Byte(sums[i], axis.bits);
  }
  return out;
}

}  // namespace

Image ResizeBicubic(const Image& image, int height, int width, bool precise) {
  if (width == image.width) return height == image.height ? image : Down(image, height, precise);
  Image across = Across(image, width, precise);
  return height == image.height ? across : Down(across, height, precise);
}

}  // namespace swerve
