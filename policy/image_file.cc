#include "policy/image_file.h"

#include <cairo.h>

#include <cstring>

#include "base/status.h"

namespace swerve {

absl::StatusOr<Image> ReadPng(const std::string& path) {
  cairo_surface_t* surface = cairo_image_surface_create_from_png(path.c_str());
  const cairo_status_t status = cairo_surface_status(surface);
  const cairo_format_t format = cairo_image_surface_get_format(surface);
  if (status != CAIRO_STATUS_SUCCESS || (format != CAIRO_FORMAT_RGB24 && format != CAIRO_FORMAT_ARGB32)) {
    cairo_surface_destroy(surface);
    const std::string message = absl::StrCat(path, ": ", status == CAIRO_STATUS_SUCCESS ? "unusual pixel format" : cairo_status_to_string(status));
    return status == CAIRO_STATUS_FILE_NOT_FOUND ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  Image image{cairo_image_surface_get_height(surface), cairo_image_surface_get_width(surface), {}};
  const unsigned char* data = cairo_image_surface_get_data(surface);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      uint32_t pixel;
      std::memcpy(&pixel, data + static_cast<size_t>(y) * cairo_image_surface_get_stride(surface) + 4 * x, 4);
      for (int shift : {16, 8, 0}) image.rgb.push_back(static_cast<uint8_t>(pixel >> shift));
    }
  }
  cairo_surface_destroy(surface);
  return image;
}

}  // namespace swerve
