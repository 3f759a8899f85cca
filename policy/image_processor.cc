#include "policy/image_processor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status.h"
#include "policy/image_file.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
using Config = ImageProcessorConfig;

constexpr float kImageNetMean[3] = {0.485f, 0.456f, 0.406f}, kImageNetStd[3] = {0.229f, 0.224f, 0.225f};

// Fields of one JSON object; the first thing wrong with them is kept.
class Fields {
 public:
  Fields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}
  const Json* Get(const char* key) const {
    auto it = json_.is_object() ? json_.find(key) : json_.end();
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  template <typename T>
  void Int(const char* key, int64_t lo, int64_t hi, T* out) {
    const Json* v = Get(key);
    if (v == nullptr) return;
    if (!v->is_number_integer() || v->get<int64_t>() < lo || v->get<int64_t>() > hi) return Fail(key, absl::StrCat("is not a whole number in ", lo, "…", hi));
    *out = static_cast<T>(v->get<int64_t>());
  }
  void Bool(const char* key, bool* out) {
    const Json* v = Get(key);
    if (v == nullptr) return;
    if (!v->is_boolean()) return Fail(key, "is not true or false");
    *out = v->get<bool>();
  }
  void Three(const char* key, bool positive, float* out) {
    const Json* v = Get(key);
    if (v == nullptr) return;
    for (int i = 0; i < 3; ++i) {
      if (!v->is_array() || v->size() != 3 || !(*v)[i].is_number()) return Fail(key, "is not three numbers");
      out[i] = (*v)[i].get<float>();
      if (!std::isfinite(out[i]) || (positive && !(out[i] > 0))) return Fail(key, "holds a value that is not usable");
    }
  }
  void Only(const char* key, const Json& want) {
    if (const Json* v = Get(key); v != nullptr && *v != want) Fail(key, absl::StrCat("= ", v->is_structured() ? v->type_name() : v->dump(-1, ' ', true, Json::error_handler_t::replace), " is not supported (only ", want.dump(), ")"));
  }
  void Fail(absl::string_view key, absl::string_view what) {
    if (status.ok()) status = absl::InvalidArgumentError(absl::StrCat(where_, ": ", key, " ", what));
  }
  absl::Status status;

 private:
  const Json& json_;
  const std::string where_;
};

// null where there is no such file.
absl::StatusOr<Json> ReadObject(const std::string& path, bool must_exist) {
  auto text = ReadFile(path);
  if (!text.ok()) return must_exist || !absl::IsNotFound(text.status()) ? absl::StatusOr<Json>(text.status()) : Json();
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return absl::InvalidArgumentError(path + ": not a JSON object");
  return json;
}

absl::Status Common(Fields* f, Config* c) {
  f->Three("image_mean", false, c->mean);
  f->Three("image_std", true, c->std);
  f->Only("do_resize", true);
  f->Only("do_rescale", true);
  f->Only("do_normalize", true);
  f->Only("resample", 3);
  if (const Json* v = f->Get("rescale_factor"); v != nullptr) {
    if (!v->is_number() || !(v->get<double>() > 0) || !std::isfinite(v->get<double>())) f->Fail("rescale_factor", "is not a positive number");
    else c->rescale = v->get<double>();
  }
  return f->status;
}

absl::Status ReadTiles(const Json& p, const std::string& where, Config* c) {
  Fields f(p, where);
  SWERVE_RETURN_IF_ERROR(Common(&f, c));
  f.Int("min_patches", 1, 1024, &c->min_tiles);
  f.Int("max_patches", 1, 1024, &c->max_tiles);
  if (const Json* size = f.Get("size"); size != nullptr && size->is_object()) {
    Fields s(*size, where + ": size");
    int height = c->tile, width = c->tile;
    s.Int("height", 1, 1 << 13, &height);
    s.Int("width", 1, 1 << 13, &width);
    if (height != width) s.Fail("height", "and width differ; tiles are square");
    SWERVE_RETURN_IF_ERROR(s.status);
    c->tile = height;
  } else {
    f.Int("size", 1, 1 << 13, &c->tile);
  }
  if (c->min_tiles > c->max_tiles) f.Fail("min_patches", "is above max_patches");
  return f.status;
}

absl::Status ReadPatches(const Json& p, const std::string& where, Config* c) {
  Fields f(p, where);
  SWERVE_RETURN_IF_ERROR(Common(&f, c));
  constexpr int64_t kMost = int64_t{1} << 40;
  if (const Json* size = f.Get("size"); size != nullptr) {
    Fields s(*size, where + ": size");
    s.Int("shortest_edge", 1, kMost, &c->min_pixels);
    s.Int("longest_edge", 1, kMost, &c->max_pixels);
    if (s.Get("shortest_edge") == nullptr || s.Get("longest_edge") == nullptr) {
      s.Int("min_pixels", 1, kMost, &c->min_pixels);
      s.Int("max_pixels", 1, kMost, &c->max_pixels);
    }
    SWERVE_RETURN_IF_ERROR(s.status);
  }
  f.Int("min_pixels", 1, kMost, &c->min_pixels);
  f.Int("max_pixels", 1, kMost, &c->max_pixels);
  f.Int("patch_size", 1, 256, &c->patch);
  f.Int("temporal_patch_size", 1, 16, &c->temporal_patch);
  f.Int("merge_size", 1, 16, &c->merge);
  if (c->min_pixels > c->max_pixels) f.Fail("size", "has its smallest area above its largest");
  return f.status;
}

// The original repository keeps the tiling in config.json; its preprocessor is CLIP's, of which mean and std count.
absl::Status ReadOriginal(const Json& config, const Json& p, const std::string& dir, Config* c) {
  std::copy_n(kImageNetMean, 3, c->mean), std::copy_n(kImageNetStd, 3, c->std);
  c->pillow = true;
  c->dynamic = false;
  c->thumbnail = false;
  Fields f(config, dir + "/config.json");
  if (const Json* vision = f.Get("vision_config"); vision != nullptr && vision->is_object() && vision->contains("image_size")) {
    Fields v(*vision, dir + "/config.json: vision_config");
    v.Int("image_size", 1, 1 << 13, &c->tile);
    SWERVE_RETURN_IF_ERROR(v.status);
  }
  f.Int("force_image_size", 1, 1 << 13, &c->tile);
  f.Bool("dynamic_image_size", &c->dynamic);
  f.Bool("use_thumbnail", &c->thumbnail);
  f.Int("min_dynamic_patch", 1, 1024, &c->min_tiles);
  f.Int("max_dynamic_patch", 1, 1024, &c->max_tiles);
  if (c->min_tiles > c->max_tiles) f.Fail("min_dynamic_patch", "is above max_dynamic_patch");
  SWERVE_RETURN_IF_ERROR(f.status);
  Fields g(p, dir + "/preprocessor_config.json");
  return Common(&g, c);
}

int VisionInt(const Json& config, const char* key, int fallback) {
  const Json v = config.value("vision_config", Json::object());
  if (!v.is_object() || !v.contains(key)) return fallback;
  const Json& x = v[key].is_array() && !v[key].empty() ? v[key][0] : v[key];
  return x.is_number_integer() && x.get<int64_t>() > 0 && x.get<int64_t>() < 1 << 13 ? x.get<int>() : fallback;
}

// The grid (columns, rows) whose shape is closest to the picture's; of equals, the larger while the picture fills half of it.
void TileGrid(const Config& c, int height, int width, int* columns, int* rows) {
  *columns = *rows = 1;
  if (!c.dynamic) return;
  const double aspect = static_cast<double>(width) / height, area = static_cast<double>(width) * height;
  double best = std::numeric_limits<double>::infinity();
  for (int n = c.min_tiles; n <= c.max_tiles; ++n) {
    for (int w = 1; w <= n; ++w) {
      if (n % w != 0) continue;
      const double diff = std::abs(aspect - static_cast<double>(w) / (n / w));
      if (diff < best || (diff == best && area > 0.5 * c.tile * c.tile * n)) *columns = w, *rows = n / w;
      best = std::min(best, diff);
    }
  }
}

absl::Status PatchSize(const Config& c, int height, int width, int* to_height, int* to_width) {
  const double h = height, w = width;
  if (std::max(h, w) / std::min(h, w) > 200) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", width, "x", height, " is too narrow: its sides differ by more than a factor of 200"));
  }
  const double factor = c.patch * c.merge;
  double hb = std::nearbyint(h / factor) * factor, wb = std::nearbyint(w / factor) * factor;
  if (hb * wb > static_cast<double>(c.max_pixels)) {
    const double beta = std::sqrt(h * w / static_cast<double>(c.max_pixels));
    hb = std::max(factor, std::floor(h / beta / factor) * factor);
    wb = std::max(factor, std::floor(w / beta / factor) * factor);
  } else if (hb * wb < static_cast<double>(c.min_pixels)) {
    const double beta = std::sqrt(static_cast<double>(c.min_pixels) / (h * w));
    hb = std::ceil(h * beta / factor) * factor;
    wb = std::ceil(w * beta / factor) * factor;
  }
  if (!(hb * wb <= static_cast<double>(kMaxImagePixels))) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", width, "x", height, " would be resized to ", wb, "x", hb, ", beyond the limit of ", kMaxImagePixels, " pixels; lower size.longest_edge in the preprocessor's configuration"));
  }
  *to_height = static_cast<int>(hb), *to_width = static_cast<int>(wb);
  return absl::OkStatus();
}

// What a byte becomes, by channel.
struct Levels {
  float of[3][256];
  explicit Levels(const Config& c) {
    for (int i = 0; i < 3; ++i) {
      const float mean = static_cast<float>(c.mean[i] / c.rescale), scale = static_cast<float>(c.std[i] / c.rescale);
      for (int v = 0; v < 256; ++v) of[i][v] = (static_cast<float>(v) - mean) / scale;
    }
  }
};

void AddTile(const Levels& levels, const Image& image, int row, int column, int tile, std::vector<float>* out) {
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < tile; ++y) {
      const uint8_t* p = &image.rgb[(static_cast<size_t>(row * tile + y) * image.width + column * tile) * 3 + c];
      for (int x = 0; x < tile; ++x) out->push_back(levels.of[c][p[3 * x]]);
    }
  }
}

void Tiles(const Config& c, const Image& image, ProcessedImage* out) {
  int columns, rows;
  TileGrid(c, image.height, image.width, &columns, &rows);
  const Levels levels(c);
  const bool thumbnail = c.thumbnail && columns * rows > 1;
  out->tiles = columns * rows + thumbnail;
  out->values.reserve(static_cast<size_t>(out->tiles) * 3 * c.tile * c.tile);
  const Image whole = ResizeBicubic(image, rows * c.tile, columns * c.tile, c.pillow);
  for (int r = 0; r < rows; ++r) {
    for (int k = 0; k < columns; ++k) AddTile(levels, whole, r, k, c.tile, &out->values);
  }
  if (thumbnail) AddTile(levels, ResizeBicubic(image, c.tile, c.tile, c.pillow), 0, 0, c.tile, &out->values);
}

void Patches(const Config& c, const Image& image, ProcessedImage* out) {
  const Levels levels(c);
  const int p = c.patch, m = c.merge;
  out->grid_t = 1, out->grid_h = image.height / p, out->grid_w = image.width / p;
  out->values.reserve(static_cast<size_t>(out->grid_h) * out->grid_w * 3 * c.temporal_patch * p * p);
  auto patch = [&](int row, int column) {
    for (int k = 0; k < 3; ++k) {
      for (int t = 0; t < c.temporal_patch; ++t) {  // a still picture stands for every frame
        for (int y = 0; y < p; ++y) {
          const uint8_t* from = &image.rgb[(static_cast<size_t>(row * p + y) * image.width + column * p) * 3 + k];
          for (int x = 0; x < p; ++x) out->values.push_back(levels.of[k][from[3 * x]]);
        }
      }
    }
  };
  for (int gy = 0; gy < out->grid_h / m; ++gy) {
    for (int gx = 0; gx < out->grid_w / m; ++gx) {
      for (int i = 0; i < m * m; ++i) patch(gy * m + i / m, gx * m + i % m);
    }
  }
}

absl::Status CheckSides(int height, int width) {
  if (height >= 1 && width >= 1 && height <= kMaxImageSide && width <= kMaxImageSide) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a picture of ", width, "x", height, " has a side outside 1…", kMaxImageSide));
}

}  // namespace

absl::StatusOr<ImageProcessorConfig> LoadImageProcessorConfig(const std::string& dir) try {
  SWERVE_ASSIGN_OR_RETURN(const Json config, ReadObject(dir + "/config.json", true));
  std::string from = dir + "/preprocessor_config.json";
  SWERVE_ASSIGN_OR_RETURN(Json p, ReadObject(from, false));
  SWERVE_ASSIGN_OR_RETURN(const Json processor, ReadObject(dir + "/processor_config.json", false));
  if (processor.contains("image_processor") && processor["image_processor"].is_object()) {
    p = processor["image_processor"];
    from = dir + "/processor_config.json: image_processor";
  }
  Config c;
  const Json type = config.value("model_type", Json());
  if (type == "internvl_chat") {
    SWERVE_RETURN_IF_ERROR(ReadOriginal(config, p, dir, &c));
  } else if (type == "internvl") {
    c.tile = p.is_null() ? VisionInt(config, "image_size", 448) : 384;  // the class's own default
    if (p.is_null()) std::copy_n(kImageNetMean, 3, c.mean), std::copy_n(kImageNetStd, 3, c.std);
    SWERVE_RETURN_IF_ERROR(ReadTiles(p, from, &c));
  } else if (type == "qwen2_5_vl") {
    c.kind = Config::Kind::kPatches;
    if (p.is_null()) {
      c.patch = VisionInt(config, "patch_size", c.patch);
      c.temporal_patch = VisionInt(config, "temporal_patch_size", c.temporal_patch);
      c.merge = VisionInt(config, "spatial_merge_size", c.merge);
    }
    SWERVE_RETURN_IF_ERROR(ReadPatches(p, from, &c));
  } else {
    return absl::InvalidArgumentError(absl::StrCat(dir, "/config.json: model_type ", type.is_structured() ? type.type_name() : type.dump(-1, ' ', true, Json::error_handler_t::replace), " takes no pictures that are known here (internvl, internvl_chat, qwen2_5_vl)"));
  }
  if (c.kind == Config::Kind::kTiles) {
    if (int64_t{c.tile} * c.tile * c.max_tiles > kMaxImagePixels) return absl::InvalidArgumentError(absl::StrCat(dir, ": ", c.max_tiles, " tiles of ", c.tile, " pixels are beyond the limit of ", kMaxImagePixels, " pixels"));
    const int side = c.tile / VisionInt(config, "patch_size", 14) / 2;
    c.tokens_per_tile = side * side;
    Fields f(config, dir + "/config.json");
    f.Int("image_seq_length", 1, 1 << 20, &c.tokens_per_tile);
    SWERVE_RETURN_IF_ERROR(f.status);
  }
  return c;
} catch (const Json::exception& e) {  // nlohmann's typed access throws on a type it does not expect
  return absl::InvalidArgumentError(absl::StrCat(dir, ": preprocessor configuration: ", e.what()));
}

absl::StatusOr<int> ImageTokens(const ImageProcessorConfig& c, int height, int width) {
  SWERVE_RETURN_IF_ERROR(CheckSides(height, width));
  int rows = 0, columns = 0;
  if (c.kind == Config::Kind::kTiles) {
    TileGrid(c, height, width, &columns, &rows);
    return (columns * rows + (c.thumbnail && columns * rows > 1)) * c.tokens_per_tile;
  }
  SWERVE_RETURN_IF_ERROR(PatchSize(c, height, width, &rows, &columns));
  const int cell = c.patch * c.merge;
  return (rows / cell) * (columns / cell);
}

absl::StatusOr<ProcessedImage> ProcessImage(const ImageProcessorConfig& c, const Image& image) {
  SWERVE_RETURN_IF_ERROR(CheckSides(image.height, image.width));
  if (image.rgb.size() != static_cast<size_t>(image.height) * image.width * 3) {
    return absl::InvalidArgumentError(absl::StrCat("an image of ", image.width, "x", image.height, " holds ", image.rgb.size(), " bytes"));
  }
  ProcessedImage out;
  SWERVE_ASSIGN_OR_RETURN(out.tokens, ImageTokens(c, image.height, image.width));
  if (c.kind == Config::Kind::kTiles) {
    Tiles(c, image, &out);
  } else {
    int height, width;
    SWERVE_RETURN_IF_ERROR(PatchSize(c, image.height, image.width, &height, &width));
    Patches(c, ResizeBicubic(image, height, width, c.pillow), &out);
  }
  return out;
}

}  // namespace swerve
