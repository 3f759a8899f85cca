// The faulty teacher as the gateway's HTTP client meets it.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/status_matchers.h"
#include "chaos/faulty_teacher.h"
#include "base/http_client.h"

namespace swerve {
namespace {

using testing::HasSubstr;

class FaultyTeacherTest : public testing::Test {
 protected:
  // One for all: its end waits for idle connections.
  static void SetUpTestSuite() { SWERVE_ASSERT_OK_AND_ASSIGN(teacher_, FaultyTeacher::Start()); }
  static void TearDownTestSuite() { teacher_.reset(); }

  absl::StatusOr<HttpReply> Ask(absl::Duration within = absl::Seconds(30)) {
    HttpRequest request;
    request.url = absl::StrCat("http://127.0.0.1:", teacher_->port(), "/v1/chat/completions");
    request.headers = {"Content-Type: application/json"};
    request.body = "{}";
    request.timeout = within;
    return http_.Send(request);
  }

  static inline std::unique_ptr<FaultyTeacher> teacher_;
  CurlHttp http_;
};

TEST_F(FaultyTeacherTest, GivesAReportUntilToldOtherwise) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const HttpReply reply, Ask());
  EXPECT_EQ(reply.status, 200);
  const auto json = nlohmann::json::parse(reply.body);
  const auto report = nlohmann::json::parse(json["choices"][0]["message"]["content"].get<std::string>());
  for (const char* section : {"meta_action", "think_process", "safety", "efficiency", "correction"}) {
    EXPECT_TRUE(report.contains(section)) << section;
  }
  EXPECT_EQ(teacher_->answered(), 1u);
}

TEST_F(FaultyTeacherTest, FailsInEachManner) {
  ASSERT_OK(teacher_->Fail("429"));
  SWERVE_ASSERT_OK_AND_ASSIGN(HttpReply reply, Ask());
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.retry_after, "1");
  ASSERT_OK(teacher_->Fail("500"));
  SWERVE_ASSERT_OK_AND_ASSIGN(reply, Ask());
  EXPECT_EQ(reply.status, 500);
  ASSERT_OK(teacher_->Fail("wrong_schema"));
  SWERVE_ASSERT_OK_AND_ASSIGN(reply, Ask());
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.body, HasSubstr("poem"));
  ASSERT_OK(teacher_->Fail("cut_stream"));
  EXPECT_THAT(Ask().status(), StatusIs(absl::StatusCode::kUnavailable, testing::_));
  ASSERT_OK(teacher_->Fail("huge_answer"));
  EXPECT_THAT(Ask().status(), StatusIs(absl::StatusCode::kDataLoss, testing::_));
  ASSERT_OK(teacher_->Fail("slow_body"));
  EXPECT_THAT(Ask(absl::Milliseconds(300)).status(), StatusIs(absl::StatusCode::kDeadlineExceeded, testing::_));
  EXPECT_EQ(teacher_->failed(), 6u);
  ASSERT_OK(teacher_->Fail(""));
  EXPECT_OK(Ask());
  EXPECT_THAT(teacher_->Fail("sing"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sing")));
}

}  // namespace
}  // namespace swerve
