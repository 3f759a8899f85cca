#include "chaos/event_log.h"

#include <cerrno>
#include <cmath>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/files.h"

namespace swerve {

EventLog::EventLog(std::FILE* file) : start_(absl::Now()), file_(file) {}

EventLog::~EventLog() { std::fclose(file_); }

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return ErrnoStatus(errno, "create", path);
  return std::unique_ptr<EventLog>(new EventLog(file));
}

double EventLog::Seconds() const { return absl::ToDoubleSeconds(absl::Now() - start_); }

void EventLog::Write(const std::string& what, nlohmann::json fields, const std::string& text) {
  absl::MutexLock lock(&mu_);
  const double t = Seconds();
  nlohmann::ordered_json line = {{"t", std::round(t * 1000) / 1000}, {"what", what}};
  for (auto& [name, value] : fields.items()) line[name] = value;
  const std::string bytes = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::fwrite(bytes.data(), 1, bytes.size(), file_);
  std::fflush(file_);
  if (!text.empty()) std::fprintf(stderr, "%7.1f s  %s\n", t, text.c_str());
}

absl::StatusOr<std::vector<nlohmann::json>> ReadEventLog(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  std::vector<nlohmann::json> events;
  const std::vector<absl::string_view> lines = absl::StrSplit(content, '\n');
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    nlohmann::json event = nlohmann::json::parse(lines[i].begin(), lines[i].end(), nullptr, false);
    if (event.is_object() && event.contains("what")) {
      events.push_back(std::move(event));
    } else if (i + 1 < lines.size()) {
      return absl::DataLossError(absl::StrCat(path, ":", i + 1, ": not a line of an event log"));
    }
  }
  return events;
}

}  // namespace swerve
