// The file that names the teachers of a run (v1::TeachersFile as YAML; deploy/teachers/teachers.yaml shows every field),
// and the rules that it has to keep. Values and pure functions.
#ifndef SWERVE_TEACHER_GATEWAY_TEACHERS_FILE_H_
#define SWERVE_TEACHER_GATEWAY_TEACHERS_FILE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "swerve/v1/teachers.pb.h"

namespace swerve {

// Teachers, and where each of their fields stands, so that every complaint can name the line.
class TeachersSource {
 public:
  // Reads YAML. INVALID_ARGUMENT with `name` and line for anything that CheckTeachers or the field types refuse; nothing
  // is accepted in part. `name` is the file's path: relative templates, key and CA files are looked for beside it.
  static absl::StatusOr<TeachersSource> Parse(const std::string& yaml, const std::string& name);
  // Of teachers that were put together in memory. INVALID_ARGUMENT as above, without a line.
  static absl::StatusOr<TeachersSource> Of(const v1::TeachersFile& file, const std::string& name);

  const v1::TeachersFile& file() const { return file_; }
  // INVALID_ARGUMENT: "<name>:<line>: teacher "vlm": field 'url' <why>". `field` "": of the whole teacher.
  absl::Status Refuse(int teacher, absl::string_view field, absl::string_view why) const;
  // `path` beside the file, unless it is absolute or empty.
  std::string Beside(const std::string& path) const;

 private:
  absl::Status Check() const;
  absl::Status CheckName(int index) const;
  absl::Status CheckRanges(int index) const;
  absl::Status CheckFallback(int index) const;
  absl::Status CheckEndpoint(int index) const;

  std::string name_;
  v1::TeachersFile file_;
  std::vector<std::map<std::string, int>> lines_;  // per teacher: field → line, "" → where it begins; empty: unknown
};

// True for the kinds that need nothing but the scene: oracle, rule, none. A fallback may name them without an entry.
bool IsEmbeddedFallback(absl::string_view name);

// As the file is written: the fields that were set.
std::string TeachersYaml(const v1::TeachersFile& file);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_TEACHERS_FILE_H_
