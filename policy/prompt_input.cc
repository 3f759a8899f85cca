#include "policy/prompt_input.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace swerve {
namespace {

// Weights of one output sample: Keys' cubic (a = -0.5), widened when shrinking, as Pillow does.
struct Taps {
  int first;
  std::vector<float> weights;
};

std::vector<Taps> MakeTaps(int in, int out) {
  const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0), support = 2.0 * stretch;
  auto cubic = [](double x) {
    x = std::abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
    return 0.0;
  };
  std::vector<Taps> taps(out);
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const int lo = std::max(0, static_cast<int>(centre - support + 0.5));
    const int hi = std::min(in, static_cast<int>(centre + support + 0.5));
    double sum = 0;
    std::vector<double> w;
    for (int j = lo; j < hi; ++j) {
      w.push_back(cubic((j - centre + 0.5) / stretch));
      sum += w.back();
    }
    taps[i].first = lo;
    for (double v : w) taps[i].weights.push_back(static_cast<float>(v / sum));
  }
  return taps;
}

// To bytes after each pass, as the reference processors have it.
float ToByte(float v) { return std::clamp(std::round(v), 0.0f, 255.0f); }

std::vector<float> Resize(const Image& image, int size) {
  const std::vector<Taps> across = MakeTaps(image.width, size), down = MakeTaps(image.height, size);
  std::vector<float> rows(static_cast<size_t>(image.height) * size * 3);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < size; ++x) {
      for (int c = 0; c < 3; ++c) {
        float sum = 0;
        for (size_t k = 0; k < across[x].weights.size(); ++k) {
          sum += across[x].weights[k] * image.rgb[(static_cast<size_t>(y) * image.width + across[x].first + k) * 3 + c];
        }
        rows[(static_cast<size_t>(y) * size + x) * 3 + c] = ToByte(sum);
      }
    }
  }
  std::vector<float> out(static_cast<size_t>(size) * size * 3);
  for (int y = 0; y < size; ++y) {
    for (int i = 0; i < size * 3; ++i) {
      float sum = 0;
      for (size_t k = 0; k < down[y].weights.size(); ++k) sum += down[y].weights[k] * rows[static_cast<size_t>(down[y].first + k) * size * 3 + i];
      out[static_cast<size_t>(y) * size * 3 + i] = ToByte(sum);
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> PromptIds(const Tokenizer& tokenizer, const ModelConfig& config,
                                               absl::string_view text, bool with_image) {
  if (with_image && !config.has_vision) return absl::InvalidArgumentError("the prompt has an image but the model is text only");
  std::vector<int32_t> body = tokenizer.Encode(text);
  if (config.has_vision && std::count(body.begin(), body.end(), config.image_token_id) > 0) {
    return absl::InvalidArgumentError("the prompt's text holds an image placeholder token");
  }
  std::vector<int32_t> ids = tokenizer.Encode(with_image ? "<|im_start|>user\n<img>" : "<|im_start|>user\n");
  if (with_image) {
    ids.insert(ids.end(), config.image_tokens, config.image_token_id);
    // "</img>\n{text}" is encoded as one text: where the newline ends up is the tokenizer's matter.
    body = tokenizer.Encode(absl::StrCat("</img>\n", text));
  } else {
    body = tokenizer.Encode(absl::StrCat("<|im_start|>user\n", text));
    ids.clear();
  }
  ids.insert(ids.end(), body.begin(), body.end());
  for (int32_t id : tokenizer.Encode("<|im_end|>\n<|im_start|>assistant\n")) ids.push_back(id);
  return ids;
}

std::vector<int32_t> ResponseIds(const Tokenizer& tokenizer, const ModelConfig& config, absl::string_view text) {
  std::vector<int32_t> ids = tokenizer.Encode(text);
  if (!config.eos.empty()) ids.push_back(config.eos[0]);
  return ids;
}

absl::StatusOr<std::vector<float>> Pixels(const Image& image, const ModelConfig& config) {
  if (!config.has_vision) return absl::InvalidArgumentError("the model takes no image");
  if (image.height < 1 || image.width < 1 || image.height > 1 << 15 || image.width > 1 << 15 ||
      image.rgb.size() != static_cast<size_t>(image.height) * image.width * 3) {
    return absl::InvalidArgumentError(absl::StrCat("an image of ", image.width, "x", image.height, " holds ", image.rgb.size(), " bytes"));
  }
  const int size = config.vision.image;
  std::vector<float> hwc;
  if (image.height == size && image.width == size) {
    hwc.assign(image.rgb.begin(), image.rgb.end());
  } else {
    hwc = Resize(image, size);
  }
  std::vector<float> out(hwc.size());
  const size_t plane = static_cast<size_t>(size) * size;
  for (int c = 0; c < 3; ++c) {
    const float scale = 1.0f / (255.0f * config.image_std[c]), shift = -config.image_mean[c] / config.image_std[c];
    for (size_t i = 0; i < plane; ++i) out[c * plane + i] = hwc[i * 3 + c] * scale + shift;
  }
  return out;
}

}  // namespace swerve
