// The wording that a teacher is asked with: a text file with a version, so that an episode tells which words made its
// feedback. deploy/teachers/ ships the defaults, which the binary also carries.
//
//   version: 1
//   # comment
//   ## system
//   You coach a driving policy …
//   ## user
//   Task: {command} …                    {{ and }} are braces
//
// Immutable once read; thread-safe.
#ifndef SWERVE_TEACHER_GATEWAY_PROMPT_TEMPLATE_H_
#define SWERVE_TEACHER_GATEWAY_PROMPT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"

namespace swerve {

// What a template may name, in the order of TemplateValues.
inline constexpr const char* kTemplateFields[] = {"command",    "base_prompt", "response", "gt_trajectory",
                                                  "gt_summary", "scores",      "facts",    "threshold"};
struct TemplateValues {
  std::string command, base_prompt, response, gt_trajectory, gt_summary, scores, facts, threshold;
};

class PromptTemplate {
 public:
  // INVALID_ARGUMENT with file and line: no version, a section missing or twice, an unknown field, a lone brace.
  static absl::StatusOr<PromptTemplate> Parse(const std::string& text, const std::string& name);
  // Errors of base/files.h and of Parse.
  static absl::StatusOr<PromptTemplate> Read(const std::string& path);
  static const PromptTemplate& ShippedFailed();
  static const PromptTemplate& ShippedCorrect();

  const std::string& version() const { return version_; }
  const std::string& hash() const { return hash_; }  // 16 hex digits of the file's SHA-256

  // One pass: braces inside a value stay as they are.
  std::string System(const TemplateValues& values) const { return Fill(system_, values); }
  std::string User(const TemplateValues& values) const { return Fill(user_, values); }

 private:
  // A stretch of text, then a field; -1: none.
  struct Piece {
    std::string text;
    int field = -1;
  };
  static absl::StatusOr<std::vector<Piece>> Cut(const std::string& section, const std::string& name, int line);
  static std::string Fill(const std::vector<Piece>& pieces, const TemplateValues& values);

  std::string version_, hash_;
  std::vector<Piece> system_, user_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_PROMPT_TEMPLATE_H_
