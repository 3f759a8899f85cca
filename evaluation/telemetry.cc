#include "evaluation/telemetry.h"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/tfrecord.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

double SystemClock() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

// --- protobuf wire format: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}
void PutKey(int field, int wire_type, std::string* out) { PutVarint(static_cast<uint64_t>(field << 3 | wire_type), out); }
void PutBytes(int field, absl::string_view bytes, std::string* out) {
  PutKey(field, 2, out);
  PutVarint(bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}
void PutDouble(int field, double value, std::string* out) {
  PutKey(field, 1, out);
  AppendLittleEndian(std::bit_cast<uint64_t>(value), out);
}
void PutFloat(int field, float value, std::string* out) {
  PutKey(field, 5, out);
  AppendLittleEndian(std::bit_cast<uint32_t>(value), out);
}

void PutInt(int field, uint64_t value, std::string* out) {
  PutKey(field, 0, out);
  PutVarint(value, out);
}

absl::Status Append(absl::string_view bytes, std::FILE* file, const std::string& path) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0) {
    return ErrnoStatus(errno, "append to", path);
  }
  return absl::OkStatus();
}

// The step of a line of metrics.jsonl; false when the line is not one.
bool ParseLine(absl::string_view line, Json* object, int64_t* step) {
  *object = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object->is_object()) return false;
  const auto it = object->find("step");
  if (it == object->end() || !it->is_number_integer()) return false;
  *step = it->get<int64_t>();
  return true;
}

// Leaves only whole lines of steps up to `keep_through`. Rewrites the file only when something goes.
absl::Status TrimLines(const std::string& path, int64_t keep_through) {
  auto content = ReadFile(path);
  if (absl::IsNotFound(content.status())) return absl::OkStatus();
  if (!content.ok()) return content.status();
  std::string kept;
  for (absl::string_view rest = *content; !rest.empty();) {
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) break;
    Json object;
    int64_t step = 0;
    if (ParseLine(rest.substr(0, end), &object, &step) && step <= keep_through) {
      kept.append(rest.data(), end + 1);
    }
    rest.remove_prefix(end + 1);
  }
  return kept.size() == content->size() ? absl::OkStatus() : WriteFileAtomically(path, kept);
}

}  // namespace

std::string VersionEvent(double wall_time) {
  std::string event;
  PutDouble(1, wall_time, &event);
  PutBytes(3, "brain.Event:2", &event);
  return event;
}

std::string ScalarEvent(double wall_time, int64_t step, const std::map<std::string, double>& values) {
  std::string event, summary;
  PutDouble(1, wall_time, &event);
  PutInt(2, static_cast<uint64_t>(step), &event);
  for (const auto& [tag, value] : values) {
    if (!std::isfinite(value)) continue;
    std::string scalar;
    PutBytes(1, tag, &scalar);
    PutFloat(2, static_cast<float>(value), &scalar);
    PutBytes(1, scalar, &summary);
  }
  PutBytes(5, summary, &event);
  return event;
}

// As the text plugin reads it: a string tensor of one element whose metadata names the plugin.
std::string TextEvent(double wall_time, int64_t step, const std::string& tag, const std::string& text) {
  std::string dimension, shape, tensor, plugin, metadata, value, summary, event;
  PutInt(1, 1, &dimension);        // size
  PutBytes(2, dimension, &shape);  // dim
  PutInt(1, 7, &tensor);           // dtype DT_STRING
  PutBytes(2, shape, &tensor);
  PutBytes(8, text, &tensor);      // string_val
  PutBytes(1, "text", &plugin);    // plugin_name
  PutBytes(1, plugin, &metadata);
  PutInt(4, 2, &metadata);         // data_class DATA_CLASS_TENSOR
  PutBytes(1, tag, &value);
  PutBytes(8, tensor, &value);
  PutBytes(9, metadata, &value);
  PutBytes(1, value, &summary);
  PutDouble(1, wall_time, &event);
  PutInt(2, static_cast<uint64_t>(step), &event);
  PutBytes(5, summary, &event);
  return event;
}

absl::StatusOr<std::unique_ptr<RunLog>> RunLog::Open(const std::string& run_dir, const Options& options) {
  std::unique_ptr<RunLog> log(new RunLog(options.clock ? options.clock : SystemClock, run_dir));
  SWERVE_RETURN_IF_ERROR(MakeDirectories(run_dir));
  const std::string jsonl = run_dir + "/metrics.jsonl";
  SWERVE_RETURN_IF_ERROR(TrimLines(jsonl, options.keep_through));
  absl::MutexLock lock(&log->mu_);
  log->jsonl_ = std::fopen(jsonl.c_str(), "ab");
  if (log->jsonl_ == nullptr) return ErrnoStatus(errno, "open", jsonl);
  if (!options.tensorboard) return log;

  const std::string dir = run_dir + "/tensorboard";
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  const double now = log->clock_();
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  std::string path;
  for (int n = 0; path.empty() || std::filesystem::exists(path); ++n) {
    path = absl::StrFormat("%s/events.out.tfevents.%010d.%s.%d.%d", dir, static_cast<int64_t>(now), host, getpid(), n);
  }
  log->events_ = std::fopen(path.c_str(), "wb");
  if (log->events_ == nullptr) return ErrnoStatus(errno, "create", path);
  std::string record;
  AppendTfRecord(VersionEvent(now), &record);
  SWERVE_RETURN_IF_ERROR(Append(record, log->events_, dir));
  return log;
}

RunLog::~RunLog() {
  absl::MutexLock lock(&mu_);
  if (jsonl_ != nullptr) std::fclose(jsonl_);
  if (events_ != nullptr) std::fclose(events_);
}

absl::Status RunLog::Write(int64_t step, const std::map<std::string, double>& values,
                           const std::vector<std::string>& events) {
  const double now = clock_();
  nlohmann::ordered_json line;
  line["step"] = step;
  line["time"] = now;
  for (const auto& [tag, value] : values) line[tag] = value;  // dump() writes NaN and infinities as null
  if (!events.empty()) line["events"] = events;
  absl::MutexLock lock(&mu_);
  SWERVE_RETURN_IF_ERROR(Append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", jsonl_,
                                run_dir_ + "/metrics.jsonl"));
  if (events_ == nullptr) return absl::OkStatus();
  std::string record;
  AppendTfRecord(ScalarEvent(now, step, values), &record);
  for (const std::string& text : events) AppendTfRecord(TextEvent(now, step, "events", text), &record);
  return Append(record, events_, run_dir_ + "/tensorboard");
}

absl::StatusOr<std::vector<MetricsRow>> ReadMetrics(const std::string& run_dir) {
  SWERVE_ASSIGN_OR_RETURN(const std::string content, ReadFile(run_dir + "/metrics.jsonl"));
  std::map<int64_t, MetricsRow> rows;
  for (absl::string_view line : absl::StrSplit(content, '\n', absl::SkipEmpty())) {
    Json object;
    MetricsRow row;
    if (!ParseLine(line, &object, &row.step)) continue;
    for (const auto& [key, value] : object.items()) {
      if (key == "events" && value.is_array()) {
        for (const Json& text : value) {
          if (text.is_string()) row.events.push_back(text.get<std::string>());
        }
      }
      if (!value.is_number() || key == "step") continue;
      if (key == "time") {
        row.time = value.get<double>();
      } else {
        row.values[key] = value.get<double>();
      }
    }
    rows[row.step] = std::move(row);
  }
  std::vector<MetricsRow> out;
  for (auto& [step, row] : rows) out.push_back(std::move(row));
  return out;
}

}  // namespace swerve
