// Test matchers: EXPECT_THAT(status, IsOk()), EXPECT_THAT(status, StatusIs(code, HasSubstr("…"))).
#ifndef SWERVE_BASE_STATUS_MATCHERS_H_
#define SWERVE_BASE_STATUS_MATCHERS_H_

#include <gmock/gmock.h>

#include <string>

#include "base/status.h"

namespace swerve {
inline const absl::Status& GetStatus(const absl::Status& s) { return s; }
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& s) {
  return s.status();
}
MATCHER(IsOk, "is OK") {
  *result_listener << GetStatus(arg).ToString();
  return GetStatus(arg).ok();
}
MATCHER_P2(StatusIs, code, message, "") {
  *result_listener << GetStatus(arg).ToString();
  return GetStatus(arg).code() == code &&
         testing::ExplainMatchResult(message, std::string(GetStatus(arg).message()), result_listener);
}
}  // namespace swerve

#define ASSERT_OK(expr) ASSERT_THAT(expr, ::swerve::IsOk())
#define EXPECT_OK(expr) EXPECT_THAT(expr, ::swerve::IsOk())
#define SWERVE_ASSERT_OK_AND_ASSIGN(lhs, expr) \
  SWERVE_ASSERT_OK_AND_ASSIGN_(SWERVE_CONCAT_(swerve_so_, __LINE__), lhs, expr)
#define SWERVE_ASSERT_OK_AND_ASSIGN_(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  ASSERT_TRUE(tmp.ok()) << tmp.status();             \
  lhs = *std::move(tmp)

#endif  // SWERVE_BASE_STATUS_MATCHERS_H_
