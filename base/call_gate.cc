#include "base/call_gate.h"

#include "absl/strings/strip.h"
#include "base/admin_token.h"
#include "base/permissions.h"

namespace swerve {

absl::Status CallGate::Check(absl::string_view path, absl::string_view role, absl::string_view authorization) {
  const Permission* const permission = PermissionOf(path);
  if (options_.roles && (permission == nullptr || !Allows(*permission, role))) {
    Refused(options_.port, "role").Increment();
    return absl::PermissionDeniedError(
        absl::StrCat(role.empty() ? "a caller whose certificate names no role" : absl::StrCat("role ", role),
                     " may not call ", path,
                     permission == nullptr ? "; nobody may" : absl::StrCat("; may: ", permission->roles)));
  }
  if (permission != nullptr && permission->admin_token && !options_.admin_token.empty()) {
    const bool given = absl::ConsumePrefix(&authorization, "Bearer ");
    if (!given || !SameSecret(authorization, options_.admin_token)) {
      Refused(options_.port, "token").Increment();
      return absl::UnauthenticatedError(absl::StrCat(
          path, given ? ": wrong admin token" : ": needs the admin token as metadata \"authorization: Bearer …\"",
          "; it is in the file admin_token of the run directory, or where security.admin_token_file says"));
    }
  }
  if (!rate_.Take()) {
    Refused(options_.port, "rate").Increment();
    return absl::ResourceExhaustedError(
        absl::StrCat(kRateLimitText, "more than ", options_.calls_per_second, " calls in a second; try again later, or raise ",
                     options_.limit_field));
  }
  return absl::OkStatus();
}

}  // namespace swerve
