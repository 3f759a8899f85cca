// A key that must not be told: it has no stream operator, and Redact takes it out of any text on its way to a person.
// Immutable; thread-safe.
#ifndef SWERVE_BASE_API_KEY_H_
#define SWERVE_BASE_API_KEY_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

class ApiKey {
 public:
  ApiKey() = default;  // none
  // Surrounding white space is cut. INVALID_ARGUMENT: empty, or characters that no header may hold; the text of the
  // error does not hold the key.
  static absl::StatusOr<ApiKey> Make(absl::string_view text);
  // The key in environment variable `env`, or in `file`; both empty: none. NOT_FOUND, INVALID_ARGUMENT, and the errors
  // of base/files.h.
  static absl::StatusOr<ApiKey> Find(const std::string& env, const std::string& file);

  bool empty() const { return key_.empty(); }
  bool operator==(const ApiKey&) const = default;
  // For the one header that carries it.
  const std::string& Reveal() const { return key_; }
  // `text` with every occurrence of the key replaced by "***".
  std::string Redact(absl::string_view text) const;

 private:
  std::string key_;
};

}  // namespace swerve

#endif  // SWERVE_BASE_API_KEY_H_
