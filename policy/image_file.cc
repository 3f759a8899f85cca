#include "policy/image_file.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include "absl/strings/match.h"
#include "base/files.h"
#include "base/status.h"

namespace swerve {
namespace {

constexpr int kMaxScans = 200;  // of a progressive JPEG; each costs a pass over the whole picture

absl::Status CheckSize(int64_t width, int64_t height, int64_t max_pixels) {
  if (width < 1 || height < 1 || width > kMaxImageSide || height > kMaxImageSide || width * height > max_pixels) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", width, "x", height, " is beyond the limits (", kMaxImageSide, " a side, ", max_pixels, " pixels)"));
  }
  return absl::OkStatus();
}

// Both libraries report errors by longjmp: nothing with a destructor may live in the frames they leave.
struct JpegError {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char text[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] void JpegFail(j_common_ptr info) {
  auto* error = reinterpret_cast<JpegError*>(info->err);
  info->err->format_message(info, error->text);
  std::longjmp(error->jump, 1);
}

void JpegMessage(j_common_ptr info, int level) {
  if (level < 0 && (info->err->msg_code == JWRN_JPEG_EOF || info->err->msg_code == JWRN_HIT_MARKER)) {
    std::snprintf(reinterpret_cast<JpegError*>(info->err)->text, JMSG_LENGTH_MAX, "the file is cut off or damaged");
    std::longjmp(reinterpret_cast<JpegError*>(info->err)->jump, 1);
  }
}

void JpegProgress(j_common_ptr info) {
  if (info->is_decompressor && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    std::snprintf(reinterpret_cast<JpegError*>(info->err)->text, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
    std::longjmp(reinterpret_cast<JpegError*>(info->err)->jump, 1);
  }
}

// Orientation of an EXIF block (tag 0x0112 of its first directory); 1 where there is none.
int Orientation(const jpeg_decompress_struct& info) {
  for (auto* m = info.marker_list; m != nullptr; m = m->next) {
    if (m->marker != JPEG_APP0 + 1 || m->data_length < 14 || std::memcmp(m->data, "Exif\0\0", 6) != 0) continue;
    const unsigned char* d = m->data + 6;
    const size_t n = m->data_length - 6;
    const bool little = d[0] == 'I';
    auto u16 = [&](size_t at) -> unsigned { return at + 2 > n ? 0u : little ? d[at] | d[at + 1] << 8 : d[at] << 8 | d[at + 1]; };
    auto u32 = [&](size_t at) -> size_t { return little ? u16(at) | static_cast<size_t>(u16(at + 2)) << 16 : static_cast<size_t>(u16(at)) << 16 | u16(at + 2); };
    const size_t directory = u32(4);
    if (directory >= n) return 1;
    for (unsigned i = 0, count = u16(directory); i < count && directory + 2 + 12 * (i + 1) <= n; ++i) {
      const size_t entry = directory + 2 + 12 * i;
      if (u16(entry) == 0x0112) return u16(entry + 2) == 3 && u16(entry + 8) >= 1 && u16(entry + 8) <= 8 ? static_cast<int>(u16(entry + 8)) : 1;
    }
    return 1;
  }
  return 1;
}

Image Oriented(Image in, int orientation) {
  if (orientation <= 1 || orientation > 8) return in;
  const bool swap = orientation >= 5;
  Image out{swap ? in.width : in.height, swap ? in.height : in.width, std::vector<uint8_t>(in.rgb.size())};
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int sy = swap ? x : y, sx = swap ? y : x;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = in.width - 1 - sx;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = in.height - 1 - sy;
      std::memcpy(&out.rgb[(static_cast<size_t>(y) * out.width + x) * 3], &in.rgb[(static_cast<size_t>(sy) * in.width + sx) * 3], 3);
    }
  }
  return out;
}

// Adobe's inverted CMYK in place, with Pillow's rounding.
void FromCmyk(const uint8_t* in, int width, bool inverted, uint8_t* out) {
  for (int x = 0; x < width; ++x) {
    const int k = inverted ? in[4 * x + 3] : 255 - in[4 * x + 3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? 255 - in[4 * x + c] : in[4 * x + c], product = ink * k + 128;
      out[3 * x + c] = static_cast<uint8_t>(std::max(0, k - (((product >> 8) + product) >> 8)));
    }
  }
}

struct JpegReader {
  jpeg_decompress_struct info = {};
  JpegError error;
  jpeg_progress_mgr progress = {};
  bool created = false;
  ~JpegReader() {
    if (created) jpeg_destroy_decompress(&info);
  }
};

// False: error.text says why.
bool JpegHeader(JpegReader* r, absl::string_view bytes) {
  r->info.err = jpeg_std_error(&r->error.manager);
  r->error.manager.error_exit = &JpegFail;
  r->error.manager.emit_message = &JpegMessage;
  if (setjmp(r->error.jump)) return false;
  jpeg_create_decompress(&r->info);
  r->created = true;
  r->progress.progress_monitor = &JpegProgress;
  r->info.progress = &r->progress;
  jpeg_mem_src(&r->info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&r->info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&r->info, TRUE);
  return true;
}

bool JpegPixels(JpegReader* r, uint8_t* rgb, uint8_t* line) {
  if (setjmp(r->error.jump)) return false;
  const bool cmyk = r->info.jpeg_color_space == JCS_CMYK || r->info.jpeg_color_space == JCS_YCCK;
  r->info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&r->info);
  while (r->info.output_scanline < r->info.output_height) {
    uint8_t* row = rgb + static_cast<size_t>(r->info.output_scanline) * r->info.output_width * 3;
    uint8_t* target = cmyk ? line : row;
    jpeg_read_scanlines(&r->info, &target, 1);
    if (cmyk) FromCmyk(line, static_cast<int>(r->info.output_width), r->info.saw_Adobe_marker, row);
  }
  jpeg_finish_decompress(&r->info);
  return true;
}

absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes, int64_t max_pixels) {
  JpegReader reader;
  if (!JpegHeader(&reader, bytes)) return absl::InvalidArgumentError(absl::StrCat("JPEG: ", reader.error.text));
  SWERVE_RETURN_IF_ERROR(CheckSize(reader.info.image_width, reader.info.image_height, max_pixels));
  Image image{static_cast<int>(reader.info.image_height), static_cast<int>(reader.info.image_width), {}};
  image.rgb.resize(static_cast<size_t>(image.height) * image.width * 3);
  std::vector<uint8_t> line(static_cast<size_t>(image.width) * 4);
  const int orientation = Orientation(reader.info);  // the markers are gone once the picture is read
  if (!JpegPixels(&reader, image.rgb.data(), line.data())) return absl::InvalidArgumentError(absl::StrCat("JPEG: ", reader.error.text));
  return Oriented(std::move(image), orientation);
}

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  absl::string_view left;
  char text[128] = "";
  ~PngReader() {
    if (png != nullptr) png_destroy_read_struct(&png, info == nullptr ? nullptr : &info, nullptr);
  }
};

[[noreturn]] void PngFail(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<PngReader*>(png_get_error_ptr(png))->text, sizeof PngReader::text, "%s", message);
  png_longjmp(png, 1);
}

void PngBytes(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader->left.size() < size) png_error(png, "the file is cut off");
  std::memcpy(out, reader->left.data(), size);
  reader->left.remove_prefix(size);
}

bool PngHeader(PngReader* r) {
  r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, &PngFail, [](png_structp, png_const_charp) {});
  if (r->png == nullptr) return false;
  if (setjmp(png_jmpbuf(r->png))) return false;
  r->info = png_create_info_struct(r->png);
  if (r->info == nullptr) return false;
  png_set_user_limits(r->png, kMaxImageSide, kMaxImageSide);
  png_set_chunk_malloc_max(r->png, 8 << 20);
  png_set_read_fn(r->png, r, &PngBytes);
  png_read_info(r->png, r->info);
  return true;
}

bool PngPixels(PngReader* r, png_bytep* rows, size_t row_bytes) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_set_strip_16(r->png);
  png_set_expand(r->png);
  png_set_gray_to_rgb(r->png);
  png_set_strip_alpha(r->png);
  png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
  if (png_get_rowbytes(r->png, r->info) != row_bytes) png_error(r->png, "unusual pixel format");
  png_read_image(r->png, rows);
  png_read_end(r->png, nullptr);
  return true;
}

absl::StatusOr<Image> DecodePng(absl::string_view bytes, int64_t max_pixels) {
  PngReader reader;
  reader.left = bytes;
  if (!PngHeader(&reader)) return absl::InvalidArgumentError(absl::StrCat("PNG: ", reader.text));
  const int64_t width = png_get_image_width(reader.png, reader.info), height = png_get_image_height(reader.png, reader.info);
  SWERVE_RETURN_IF_ERROR(CheckSize(width, height, max_pixels));
  Image image{static_cast<int>(height), static_cast<int>(width), std::vector<uint8_t>(static_cast<size_t>(height * width * 3))};
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < height; ++y) rows.push_back(&image.rgb[static_cast<size_t>(y * width * 3)]);
  if (!PngPixels(&reader, rows.data(), static_cast<size_t>(width) * 3)) return absl::InvalidArgumentError(absl::StrCat("PNG: ", reader.text));
  return image;
}

}  // namespace

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, int64_t max_pixels) {
  if (static_cast<int64_t>(bytes.size()) > kMaxImageBytes) return absl::InvalidArgumentError(absl::StrCat("a picture of ", bytes.size(), " bytes is larger than the limit of ", kMaxImageBytes));
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return DecodeJpeg(bytes, std::min(max_pixels, kMaxImagePixels));
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return DecodePng(bytes, std::min(max_pixels, kMaxImagePixels));
  return absl::InvalidArgumentError("neither a JPEG nor a PNG");
}

absl::StatusOr<std::string> EncodePng(const Image& image) {
  if (image.height < 1 || image.width < 1 || image.rgb.size() != size_t{3} * image.height * image.width) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", image.width, "x", image.height, " with ", image.rgb.size(), " bytes"));
  }
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = image.width;
  png.height = image.height;
  png.format = PNG_FORMAT_RGB;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::string out(bytes, '\0');
  if (!png_image_write_to_memory(&png, out.data(), &bytes, 0, image.rgb.data(), 0, nullptr)) {
    return absl::InternalError(absl::StrCat("libpng: ", png.message));
  }
  out.resize(bytes);
  return out;
}

absl::StatusOr<Image> ReadImage(const std::string& path) {
  std::error_code error;
  if (const auto size = std::filesystem::file_size(path, error); !error && size > static_cast<uintmax_t>(kMaxImageBytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", size, " bytes are more than the limit of ", kMaxImageBytes));
  }
  SWERVE_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  auto image = DecodeImage(bytes);
  if (!image.ok()) return Annotate(image.status(), path);
  return image;
}

}  // namespace swerve
