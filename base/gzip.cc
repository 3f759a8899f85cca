#include "base/gzip.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "base/files.h"

namespace swerve {
namespace {

constexpr int kGzip = 15 + 16;  // window bits, gzip wrapping
constexpr size_t kChunk = 1 << 16;

// Runs `step` (inflate or deflate) until it has taken all input; appends to `out`. Returns zlib's last answer.
template <typename Step>
int Pump(z_stream* stream, Step step, std::string* out) {
  int code;
  do {
    size_t before = out->size();
    out->resize(before + kChunk);
    stream->next_out = reinterpret_cast<Bytef*>(out->data() + before);
    stream->avail_out = kChunk;
    code = step(stream);
    out->resize(out->size() - stream->avail_out);
  } while (code == Z_OK && (stream->avail_in > 0 || stream->avail_out == 0));
  return code;
}

}  // namespace

absl::StatusOr<std::string> ReadMaybeGzip(const std::string& path) {
  absl::StatusOr<std::string> raw = ReadFile(path);
  if (!raw.ok() || !absl::StartsWith(*raw, "\x1f\x8b")) return raw;
  std::string out;
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(raw->data());
  stream.avail_in = static_cast<uInt>(raw->size());
  if (inflateInit2(&stream, kGzip) != Z_OK) return absl::InternalError("zlib: cannot start");
  int code = Pump(&stream, [](z_stream* s) { return inflate(s, Z_NO_FLUSH); }, &out);
  inflateEnd(&stream);
  if (code != Z_STREAM_END) return absl::DataLossError(absl::StrCat(path, ": gzip data is truncated or corrupt"));
  return out;
}

absl::Status WriteMaybeGzip(const std::string& path, const std::string& content) {
  if (!absl::EndsWith(path, ".gz")) return WriteFileAtomically(path, content);
  std::string out;
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  if (deflateInit2(&stream, 6, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return absl::InternalError("zlib: cannot start");
  }
  int code = Pump(&stream, [](z_stream* s) { return deflate(s, Z_FINISH); }, &out);
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return absl::InternalError("zlib: compression failed");
  return WriteFileAtomically(path, out);
}

}  // namespace swerve
