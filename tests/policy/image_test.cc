#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/image_file.h"
#include "policy/image_processor.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

const std::string kData = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/images";

const Json& Golden() {
  static const Json json = Json::parse(*ReadFile(kData + "/golden.json"));
  return json;
}

// A model directory with these files, removed at the end.
class Directory {
 public:
  explicit Directory(const Json& files) : path_(testing::TempDir() + "swerve_image_test") {
    fs::create_directories(path_);
    for (const auto& [name, content] : files.items()) std::ofstream(path_ + "/" + name) << content.dump();
  }
  ~Directory() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(ImageProcessor, EqualsTransformersWithinOneLevel) {
  for (const Json& c : Golden()["cases"]) {
    SCOPED_TRACE(c["directory"].get<std::string>() + " " + c["file"].get<std::string>());
    const Directory dir(Golden()["directories"][c["directory"].get<std::string>()]);
    SWERVE_ASSERT_OK_AND_ASSIGN(const ImageProcessorConfig config, LoadImageProcessorConfig(dir.path()));
    SWERVE_ASSERT_OK_AND_ASSIGN(const Image image, ReadImage(kData + "/" + c["file"].get<std::string>()));
    ASSERT_EQ(Json::array({image.height, image.width}), c["size"]);
    SWERVE_ASSERT_OK_AND_ASSIGN(const ProcessedImage got, ProcessImage(config, image));
    size_t total = 1;
    for (const Json& n : c["shape"]) total *= n.get<size_t>();
    ASSERT_EQ(got.values.size(), total);
    if (!c["grid"].is_null()) {
      EXPECT_EQ(Json::array({got.grid_t, got.grid_h, got.grid_w}), c["grid"]);
      EXPECT_EQ(got.tokens, got.grid_h * got.grid_w / 4);
    } else {
      EXPECT_EQ(got.tiles, c["shape"][0].get<int>());
      EXPECT_EQ(got.tokens, got.tiles * config.tokens_per_tile);
    }
    SWERVE_ASSERT_OK_AND_ASSIGN(const int tokens, ImageTokens(config, image.height, image.width));
    EXPECT_EQ(got.tokens, tokens);
    std::string want;
    ASSERT_TRUE(absl::Base64Unescape(c["bytes"].get<std::string>(), &want));
    const size_t row = total / c["shape"][0].get<size_t>();
    int off = 0;
    for (size_t i = 0; i < total; ++i) {
      const int channel = static_cast<int>(i % row / (row / 3));
      const double level = (got.values[i] * c["std"][channel].get<double>() + c["mean"][channel].get<double>()) * 255;
      const int difference = std::abs(static_cast<int>(std::lround(level)) - static_cast<uint8_t>(want[i]));
      ASSERT_LE(difference, 1) << i;
      off += difference;
    }
    // Which axis Pillow takes first depends on its version, and the bytes between the passes with it.
    if (!config.pillow) {
      EXPECT_LE(off, static_cast<int>(total / 100));
    }
    for (const Json& s : c["samples"]) {
      const size_t i = s[0].get<size_t>();
      EXPECT_NEAR(got.values[i], s[1].get<double>(), 1.01 / 255 / c["std"][i % row / (row / 3)].get<double>());
    }
  }
}

TEST(ImageFile, DamagedFilesAreNamedNotFatal) {
  EXPECT_THAT(ReadImage(kData + "/none.png"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.png")));
  EXPECT_THAT(ReadImage(kData + "/golden.json"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither a JPEG nor a PNG")));
  Random random(5);
  for (const char* name : {"wide.png", "palette.png", "tall.jpg", "progressive.jpg", "turned.jpg"}) {
    const std::string good = *ReadFile(kData + "/" + name);
    for (const double share : {0.02, 0.3, 0.6, 0.9}) {
      EXPECT_THAT(DecodeImage(good.substr(0, static_cast<size_t>(good.size() * share))), StatusIs(absl::StatusCode::kInvalidArgument, testing::AnyOf(HasSubstr("JPEG: "), HasSubstr("PNG: "), HasSubstr("neither")))) << name << " " << share;
    }
    for (int i = 0; i < 200; ++i) {
      std::string bad = good;
      for (int k = 0; k < 4; ++k) bad[random.Below(bad.size())] = static_cast<char>(random());
      if (auto image = DecodeImage(bad); image.ok()) {
        EXPECT_EQ(image->rgb.size(), static_cast<size_t>(image->height) * image->width * 3);
      }
    }
  }
}

TEST(ImageFile, RefusesWhatWouldNotFit) {
  std::string png = *ReadFile(kData + "/wide.png");
  const size_t ihdr = png.find("IHDR");
  png.replace(ihdr + 4, 8, std::string("\0\0\x7f\0\0\0\x7f\0", 8));  // 32512 x 32512; the checksum breaks as well
  EXPECT_THAT(DecodeImage(png), StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
  std::string jpeg = *ReadFile(kData + "/tall.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  jpeg.replace(frame + 5, 4, "\x7f\x01\x7f\x01", 4);
  EXPECT_THAT(DecodeImage(jpeg), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("beyond the limits")));
}

TEST(ImageProcessor, NamesTheFieldThatIsWrong) {
  const Json internvl = Golden()["directories"]["tiles"], qwen = Golden()["directories"]["patches"];
  auto load = [](Json files, const char* file, const char* key, Json value) {
    files[file][key] = value;
    return LoadImageProcessorConfig(Directory(files).path()).status();
  };
  const char* p = "preprocessor_config.json";
  EXPECT_THAT(load(internvl, p, "image_std", {0.2, 0, 0.2}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("preprocessor_config.json: image_std")));
  EXPECT_THAT(load(internvl, p, "max_patches", 0), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_patches")));
  EXPECT_THAT(load(internvl, p, "resample", 2), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resample")));
  EXPECT_THAT(load(internvl, p, "size", {{"height", 28}, {"width", 56}}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("square")));
  EXPECT_THAT(load(qwen, p, "patch_size", "x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("patch_size")));
  EXPECT_THAT(load(qwen, p, "min_pixels", int64_t{1} << 39), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("above its largest")));
  EXPECT_THAT(load(qwen, "config.json", "model_type", "llava"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("llava")));
  ImageProcessorConfig patches{.kind = ImageProcessorConfig::Kind::kPatches};
  EXPECT_THAT(ImageTokens(patches, 1, 201), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too narrow")));
  EXPECT_THAT(ImageTokens(patches, 0, 5), StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
}

TEST(ImageProcessor, NavsimFrontImageTakesNineTiles) {
  const ImageProcessorConfig config;
  SWERVE_ASSERT_OK_AND_ASSIGN(const int tokens, ImageTokens(config, 1080, 1920));
  EXPECT_EQ(tokens, 9 * 256);  // spec models.md 2.2
}

}  // namespace
}  // namespace swerve
