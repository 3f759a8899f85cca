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

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
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

// Bytes of an element; 0: not a type of the format.
int Width(absl::string_view dtype) {
  for (const auto& [name, width] : {std::pair{"F32", 4}, {"BF16", 2}, {"F16", 2}, {"F64", 8}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
                                    {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}}) {
    if (dtype == name) return width;
  }
  return 0;
}

absl::StatusOr<TensorView> ReadEntry(const Json& e, const uint8_t* data, uint64_t data_size) {
  TensorView v;
  if (!e.is_object() || !e.contains("dtype") || !e["dtype"].is_string()) return absl::InvalidArgumentError("has no dtype");
  v.dtype_name = e["dtype"];
  const int width = Width(v.dtype_name);
  if (width == 0) return absl::InvalidArgumentError(absl::StrCat("has dtype '", absl::CHexEscape(v.dtype_name.substr(0, 40)), "', which the format does not have"));
  v.dtype = v.dtype_name == "F32" ? DType::kF32 : v.dtype_name == "F16" ? DType::kF16 : v.dtype_name == "BF16" ? DType::kBF16 : DType::kOther;
  if (!e.contains("shape") || !e["shape"].is_array() || e["shape"].size() > 8) return absl::InvalidArgumentError("has no shape");
  uint64_t bytes = width;
  for (const Json& d : e["shape"]) {
    if (!d.is_number_unsigned()) return absl::InvalidArgumentError("has a bad shape");
    const uint64_t n = d.get<uint64_t>();
    if (n > data_size || __builtin_mul_overflow(bytes, n, &bytes) || bytes > data_size) return absl::InvalidArgumentError("is larger than the file");
    v.shape.push_back(static_cast<int64_t>(n));
  }
  if (!e.contains("data_offsets") || !e["data_offsets"].is_array() || e["data_offsets"].size() != 2 ||
      !e["data_offsets"][0].is_number_unsigned() || !e["data_offsets"][1].is_number_unsigned()) {
    return absl::InvalidArgumentError("has no data_offsets");
  }
  const uint64_t begin = e["data_offsets"][0], end = e["data_offsets"][1];
  if (begin > end || end > data_size || end - begin != bytes) return absl::InvalidArgumentError("has data_offsets that do not fit its shape or the file");
  v.data = data + begin;
  v.bytes = bytes;
  return v;
}

// The format has neither holes nor overlaps.
absl::Status CheckCover(const std::map<std::string, TensorView>& tensors, const uint8_t* data, uint64_t data_size) {
  std::vector<std::pair<const TensorView*, const std::string*>> order;
  for (const auto& [name, view] : tensors) order.emplace_back(&view, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->data, a.first->bytes) < std::pair(b.first->data, b.first->bytes);
  });
  const uint8_t* at = data;
  for (const auto& [view, name] : order) {
    if (view->data != at) return absl::InvalidArgumentError(absl::StrCat("tensor '", *name, "' leaves a hole or overlaps another"));
    at += view->bytes;
  }
  if (at != data + data_size) return absl::InvalidArgumentError(absl::StrCat(data + data_size - at, " bytes at the end belong to no tensor"));
  return absl::OkStatus();
}

absl::Status WriteAll(int fd, const void* data, size_t size, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, p, std::min<size_t>(size, 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write", path);
    p += n, size -= n;
  }
  return absl::OkStatus();
}

uint64_t BytesOf(const NamedTensor& t) {
  uint64_t bytes = Width(t.dtype);
  for (int64_t d : t.shape) bytes *= d;
  return bytes;
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
  absl::Status cover = CheckCover(file->tensors_, base + 8 + header, file->size_ - 8 - header);
  if (!cover.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", cover.message()));
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(map_, size_);
}

absl::StatusOr<Weights> OpenWeights(const std::string& dir) {
  Weights weights;
  const std::string index = dir + "/model.safetensors.index.json";
  const auto text = ReadFile(index);
  if (!text.ok()) {
    SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<SafetensorsFile> file, SafetensorsFile::Open(dir + "/model.safetensors"));
    weights.tensors = file->tensors();
    weights.files.push_back(std::move(file));
    return weights;
  }
  const Json json = Json::parse(*text, nullptr, false);
  if (json.is_discarded() || !json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::InvalidArgumentError(index + ": no weight_map");
  }
  std::map<std::string, std::shared_ptr<SafetensorsFile>> files;
  for (const auto& [name, value] : json["weight_map"].items()) {
    if (!value.is_string() || absl::StrContains(value.get<std::string>(), "/")) {
      return absl::InvalidArgumentError(absl::StrCat(index, ": weight_map of '", name, "' is not a file of this directory"));
    }
    std::shared_ptr<SafetensorsFile>& file = files[value.get<std::string>()];
    if (file == nullptr) {
      SWERVE_ASSIGN_OR_RETURN(file, SafetensorsFile::Open(dir + "/" + value.get<std::string>()));
      weights.files.push_back(file);
    }
    const auto it = file->tensors().find(name);
    if (it == file->tensors().end()) return absl::InvalidArgumentError(absl::StrCat(index, ": '", name, "' is not in ", value.get<std::string>()));
    weights.tensors.insert(*it);
  }
  return weights;
}

absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedTensor> tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const NamedTensor& t : tensors) {
    const uint64_t bytes = BytesOf(t);
    header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data starts aligned
  std::string head;
  for (int i = 0; i < 8; ++i) head.push_back(static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i)));
  head += text;
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", temporary);
  absl::Status status = WriteAll(fd, head.data(), head.size(), temporary);
  for (const NamedTensor& t : tensors) {
    if (status.ok()) status = WriteAll(fd, t.data, BytesOf(t), temporary);
  }
  if (status.ok() && fsync(fd) != 0) status = ErrnoStatus(errno, "fsync", temporary);
  if (close(fd) != 0 && status.ok()) status = ErrnoStatus(errno, "close", temporary);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = ErrnoStatus(errno, "rename", path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::Status WriteWeights(const std::string& dir, absl::Span<const NamedTensor> tensors, uint64_t max_shard_bytes) {
  std::vector<std::vector<NamedTensor>> shards(1);
  uint64_t total = 0, inside = 0;
  for (const NamedTensor& t : tensors) {
    const uint64_t bytes = BytesOf(t);
    if (inside > 0 && inside + bytes > max_shard_bytes) shards.emplace_back(), inside = 0;
    shards.back().push_back(t);
    inside += bytes, total += bytes;
  }
  if (shards.size() == 1) return WriteSafetensors(dir + "/model.safetensors", tensors);
  Json map = Json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    SWERVE_RETURN_IF_ERROR(WriteSafetensors(dir + "/" + name, shards[i]));
    for (const NamedTensor& t : shards[i]) map[t.name] = name;
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  return WriteFileAtomically(dir + "/model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace swerve
