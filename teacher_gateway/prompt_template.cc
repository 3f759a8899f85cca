#include "teacher_gateway/prompt_template.h"

#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/files.h"
#include "base/sha256.h"
#include "teacher_gateway/shipped_templates.h"

namespace swerve {
namespace {

absl::Status Refuse(const std::string& name, int line, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", line, ": ", why));
}

int FieldOf(absl::string_view name) {
  for (size_t i = 0; i < std::size(kTemplateFields); ++i) {
    if (name == kTemplateFields[i]) return static_cast<int>(i);
  }
  return -1;
}

const std::string& ValueOf(const TemplateValues& v, int field) {
  const std::string* const values[] = {&v.command,    &v.base_prompt, &v.response, &v.gt_trajectory,
                                       &v.gt_summary, &v.scores,      &v.facts,    &v.threshold};
  return *values[field];
}

PromptTemplate Shipped(const char* text, const char* name) {
  return PromptTemplate::Parse(text, name).value();  // a test reads them
}

// Where a section's text began, and the text.
struct Section {
  int line = 0;
  std::string text;
};

}  // namespace

absl::StatusOr<std::vector<PromptTemplate::Piece>> PromptTemplate::Cut(const std::string& section,
                                                                       const std::string& name, int line) {
  std::vector<Piece> pieces(1);
  for (size_t i = 0; i < section.size(); ++i) {
    const char c = section[i];
    if (c == '\n') ++line;
    const bool doubled = i + 1 < section.size() && section[i + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      pieces.back().text += c;
      ++i;
    } else if (c == '{') {
      const size_t end = section.find('}', i);
      const std::string field = end == std::string::npos ? "" : section.substr(i + 1, end - i - 1);
      if (FieldOf(field) < 0) {
        return Refuse(name, line, absl::StrCat("unknown field {", field, "}; known are ",
                                               absl::StrJoin(kTemplateFields, ", "), "; a brace is written {{"));
      }
      pieces.back().field = FieldOf(field);
      pieces.emplace_back();
      i = end;
    } else if (c == '}') {
      return Refuse(name, line, "a lone }; a brace is written }}");
    } else {
      pieces.back().text += c;
    }
  }
  return pieces;
}

std::string PromptTemplate::Fill(const std::vector<Piece>& pieces, const TemplateValues& values) {
  std::string out;
  for (const Piece& piece : pieces) {
    out += piece.text;
    if (piece.field >= 0) out += ValueOf(values, piece.field);
  }
  return out;
}

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(const std::string& text, const std::string& name) {
  PromptTemplate result;
  std::optional<Section> system, user;
  std::optional<Section>* open = nullptr;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line == "## system" || line == "## user") {
      open = line == "## user" ? &user : &system;
      if (open->has_value()) return Refuse(name, number, absl::StrCat("the section \"", line, "\" is there twice"));
      open->emplace();
      (*open)->line = number + 1;
    } else if (open != nullptr) {
      absl::StrAppend(&(*open)->text, line, "\n");
    } else if (absl::ConsumePrefix(&line, "version:")) {
      result.version_ = std::string(absl::StripAsciiWhitespace(line));
    } else if (!line.empty() && line[0] != '#') {
      return Refuse(name, number, "expected \"version: …\", a comment, \"## system\" or \"## user\"");
    }
  }
  if (result.version_.empty()) return Refuse(name, 1, "has no version; begin with \"version: 1\"");
  if (!system || !user) return Refuse(name, number, "needs a section \"## system\" and a section \"## user\"");
  for (std::optional<Section>* section : {&system, &user}) {
    std::string& body = (*section)->text;
    while (absl::EndsWith(body, "\n")) body.pop_back();
    if (body.empty()) return Refuse(name, (*section)->line, "the section is empty");
  }
  SWERVE_ASSIGN_OR_RETURN(result.system_, Cut(system->text, name, system->line));
  SWERVE_ASSIGN_OR_RETURN(result.user_, Cut(user->text, name, user->line));
  result.hash_ = Sha256(text).substr(0, 16);
  return result;
}

absl::StatusOr<PromptTemplate> PromptTemplate::Read(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return Parse(text, path);
}

const PromptTemplate& PromptTemplate::ShippedFailed() {
  static const auto& shipped = *new PromptTemplate(Shipped(kShippedFailed, "deploy/teachers/failed.txt"));
  return shipped;
}

const PromptTemplate& PromptTemplate::ShippedCorrect() {
  static const auto& shipped = *new PromptTemplate(Shipped(kShippedCorrect, "deploy/teachers/correct.txt"));
  return shipped;
}

}  // namespace swerve
