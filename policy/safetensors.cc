#include "policy/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
constexpr uint64_t kMaxHeader = 100 << 20;

float HalfToFloat(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1.0p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

absl::StatusOr<TensorView> ReadEntry(const Json& e, const uint8_t* data, uint64_t data_size) {
  TensorView v;
  if (!e.is_object() || !e.contains("dtype") || !e["dtype"].is_string()) return absl::InvalidArgumentError("has no dtype");
  const std::string dtype = e["dtype"];
  int width = 4;
  if (dtype == "F32") {
    v.dtype = DType::kF32;
  } else if (dtype == "F16" || dtype == "BF16") {
    v.dtype = dtype == "F16" ? DType::kF16 : DType::kBF16;
    width = 2;
  } else {
    return absl::InvalidArgumentError(absl::StrCat("has dtype ", dtype, ", which is not supported (F32, F16, BF16)"));
  }
  if (!e.contains("shape") || !e["shape"].is_array() || e["shape"].size() > 8) return absl::InvalidArgumentError("has no shape");
  uint64_t bytes = width;
  for (const Json& d : e["shape"]) {
    if (!d.is_number_unsigned()) return absl::InvalidArgumentError("has a bad shape");
    const uint64_t n = d.get<uint64_t>();
    if (__builtin_mul_overflow(bytes, n, &bytes) || bytes > data_size) return absl::InvalidArgumentError("is larger than the file");
    v.shape.push_back(static_cast<int64_t>(n));
  }
  if (!e.contains("data_offsets") || !e["data_offsets"].is_array() || e["data_offsets"].size() != 2 ||
      !e["data_offsets"][0].is_number_unsigned() || !e["data_offsets"][1].is_number_unsigned()) {
    return absl::InvalidArgumentError("has no data_offsets");
  }
  const uint64_t begin = e["data_offsets"][0], end = e["data_offsets"][1];
  if (begin > end || end > data_size || end - begin != bytes) return absl::InvalidArgumentError("has data_offsets that do not fit its shape or the file");
  v.data = data + begin;
  return v;
}

}  // namespace

int64_t TensorView::elements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::vector<float> TensorView::ToFloat() const {
  std::vector<float> out(elements());
  if (dtype == DType::kF32) {
    std::memcpy(out.data(), data, out.size() * 4);
    return out;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, data + 2 * i, 2);
    out[i] = dtype == DType::kBF16 ? std::bit_cast<float>(static_cast<uint32_t>(bits) << 16) : HalfToFloat(bits);
  }
  return out;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat st;
  if (fstat(fd, &st) != 0 || st.st_size < 10) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": too short for a safetensors file"));
  }
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->size_ = st.st_size;
  void* map = mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (map == MAP_FAILED) return ErrnoStatus(error, "mmap", path);
  file->map_ = map;
  const uint8_t* base = static_cast<const uint8_t*>(map);
  uint64_t header = 0;
  for (int i = 7; i >= 0; --i) header = header << 8 | base[i];
  if (header > kMaxHeader || header > file->size_ - 8) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": header length ", header, " exceeds the file or 100 MB"));
  }
  Json json = Json::parse(base + 8, base + 8 + header, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": header is not a JSON object"));
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    auto view = ReadEntry(entry, base + 8 + header, file->size_ - 8 - header);
    if (!view.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", name, "' ", view.status().message()));
    file->tensors_.emplace(name, *std::move(view));
  }
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(map_, size_);
}

absl::StatusOr<Weights> OpenWeights(const std::string& dir) {
  std::set<std::string> names;
  const std::string index = dir + "/model.safetensors.index.json";
  if (auto text = ReadFile(index); text.ok()) {
    Json json = Json::parse(*text, nullptr, false);
    if (json.is_discarded() || !json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
      return absl::InvalidArgumentError(index + ": no weight_map");
    }
    for (const auto& [name, file] : json["weight_map"].items()) {
      if (!file.is_string() || absl::StrContains(file.get<std::string>(), "/")) {
        return absl::InvalidArgumentError(absl::StrCat(index, ": weight_map of '", name, "' is not a file of this directory"));
      }
      names.insert(file.get<std::string>());
    }
  } else {
    names.insert("model.safetensors");
  }
  Weights weights;
  for (const std::string& name : names) {
    SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<SafetensorsFile> file, SafetensorsFile::Open(dir + "/" + name));
    weights.tensors.insert(file->tensors().begin(), file->tensors().end());
    weights.files.push_back(std::move(file));
  }
  return weights;
}

absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedFloats> tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  std::vector<uint64_t> sizes;
  for (const NamedFloats& t : tensors) {
    uint64_t bytes = 4;
    for (int64_t d : t.shape) bytes *= d;
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
    sizes.push_back(bytes);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data starts aligned
  std::string out;
  out.reserve(8 + text.size() + offset);
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i)));
  out += text;
  for (size_t i = 0; i < tensors.size(); ++i) out.append(reinterpret_cast<const char*>(tensors[i].data), sizes[i]);
  return WriteFileAtomically(path, out);
}

}  // namespace swerve
