// TFRecord framing: u64 length, u32 masked CRC32C of the length, payload, u32 masked CRC32C of the payload, all
// little-endian. Used by scene shards and TensorBoard event files. Stateless and thread-safe.
#ifndef SWERVE_BASE_TFRECORD_H_
#define SWERVE_BASE_TFRECORD_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

namespace swerve {

namespace tfrecord_internal {
// Tables of the reflected Castagnoli polynomial for eight bytes a step.
inline const std::array<std::array<uint32_t, 256>, 8>& Crc32cTables() {
  static const auto* tables = [] {
    auto* t = new std::array<std::array<uint32_t, 256>, 8>();
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0u);
      (*t)[0][i] = c;
    }
    for (int s = 1; s < 8; ++s)
      for (uint32_t i = 0; i < 256; ++i) (*t)[s][i] = ((*t)[s - 1][i] >> 8) ^ (*t)[0][(*t)[s - 1][i] & 0xff];
    return t;
  }();
  return *tables;
}
}  // namespace tfrecord_internal

inline uint32_t Crc32c(absl::string_view data) {
  const auto& t = tfrecord_internal::Crc32cTables();
  const unsigned char* p = reinterpret_cast<const unsigned char*>(data.data());
  size_t n = data.size();
  uint32_t c = ~0u;
  for (; n >= 8; n -= 8, p += 8) {
    uint32_t a = c ^ (p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24);
    c = t[7][a & 0xff] ^ t[6][(a >> 8) & 0xff] ^ t[5][(a >> 16) & 0xff] ^ t[4][a >> 24] ^ t[3][p[4]] ^ t[2][p[5]] ^
        t[1][p[6]] ^ t[0][p[7]];
  }
  for (; n > 0; --n, ++p) c = (c >> 8) ^ t[0][(c ^ *p) & 0xff];
  return ~c;
}

inline uint32_t MaskedCrc32c(absl::string_view data) {
  uint32_t c = Crc32c(data);
  return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

inline constexpr size_t kTfRecordHeader = 12;  // bytes before the payload
inline constexpr size_t kTfRecordFooter = 4;   // bytes behind it

template <typename T>
void AppendLittleEndian(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}
template <typename T>
T ReadLittleEndian(const char* p) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<unsigned char>(p[i])) << (8 * i);
  return value;
}

// Appends one framed record to `out`.
inline void AppendTfRecord(absl::string_view payload, std::string* out) {
  std::string length;
  AppendLittleEndian<uint64_t>(payload.size(), &length);
  out->append(length);
  AppendLittleEndian<uint32_t>(MaskedCrc32c(length), out);
  out->append(payload.data(), payload.size());
  AppendLittleEndian<uint32_t>(MaskedCrc32c(payload), out);
}

}  // namespace swerve

#endif  // SWERVE_BASE_TFRECORD_H_
