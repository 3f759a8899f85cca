#include "buffers/buffers.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/files.h"
#include "buffers/sqlite_buffers.h"

namespace swerve {

absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const std::string& url, const std::string& run_dir,
                                                     const std::string& run_id) {
  if (url == "sqlite") {
    SWERVE_RETURN_IF_ERROR(MakeDirectories(run_dir));
    return OpenSqliteBuffers(run_dir + "/buffers.sqlite", run_id);
  }
  absl::string_view rest = url;
  if (absl::ConsumePrefix(&rest, "sqlite:///")) {
    return OpenSqliteBuffers(absl::StrCat("/", rest), run_id);
  }
  if (absl::StartsWith(url, "redis://")) {
    return absl::UnimplementedError(
        absl::StrCat("buffers.url: ", url, ": this build has no Redis store; use sqlite (one machine)"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("buffers.url: \"", url, "\" is unknown; use sqlite or sqlite:///absolute/path"));
}

}  // namespace swerve
