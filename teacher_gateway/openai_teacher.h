// A teacher behind an endpoint that speaks OpenAI's chat completions (conventions §4.1): it gets the scene's picture, the
// base prompt, the response, the ground truth, sub-scores and failure facts, and writes the five sections.
//
// Every response ends in one typed outcome:
//   OK              five valid sections, at once or after one repair
//   TIMEOUT         no whole answer in time, or no place among `concurrency` requests
//   REFUSED         the model refuses, a content filter does, or the endpoint gives no access (401, 403)
//   RATE_LIMITED    429 to the end, or our own limits leave no room before the deadline
//   SCHEMA_INVALID  no valid sections after the repair, no chat reply, or too large a one
//   OVER_BUDGET     our budget, or the account's quota, is spent
//   UNAVAILABLE     no connection, 5xx to the end, or the breaker is open
//   INTERNAL        the endpoint calls the request wrong (400, 404, …): a setting needs a person
#ifndef SWERVE_TEACHER_GATEWAY_OPENAI_TEACHER_H_
#define SWERVE_TEACHER_GATEWAY_OPENAI_TEACHER_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/task_pool.h"
#include "swerve/v1/teachers.pb.h"
#include "base/api_key.h"
#include "teacher_gateway/chat.h"
#include "base/retry_clock.h"
#include "teacher_gateway/gateway_store.h"
#include "base/http_client.h"
#include "teacher_gateway/limits.h"
#include "teacher_gateway/metrics.h"
#include "teacher_gateway/prompt_template.h"
#include "teacher_gateway/teacher.h"

namespace swerve {

// Thread-safe. Owns `concurrency` threads that wait for the endpoint (with hedge_seconds three times as many more, for
// second requests come on top of `concurrency`), joined in the destructor; no call may be running then.
class OpenAiTeacher final : public Teacher {
 public:
  struct Parts {
    v1::TeacherSpec spec;  // checked (teachers_file.h)
    ApiKey key;
    PromptTemplate failed, correct;
    std::shared_ptr<HttpTransport> http;
    std::shared_ptr<TeacherLimits> limits;
    std::shared_ptr<GatewayStore> store;  // null: nothing is remembered
    RetryClock clock;
  };
  explicit OpenAiTeacher(Parts parts);

  // Correct responses get the fixed praise, or with ask_correct the model's, and the praise again when it gives none.
  // Blocks until every response has its outcome, at the latest soon after the smaller of `deadline` and deadline_seconds.
  v1::DiagnoseReply DiagnoseBy(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                               absl::Time deadline) const override;
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const override;
  std::string name() const override { return parts_.spec.name(); }

  // What feedback records: the model and the version of the template.
  std::string version(bool positive = false) const;
  const std::string& template_hash() const { return parts_.failed.hash(); }

 private:
  // How one exchange with the endpoint ended; `chat` counts when OK.
  struct Exchange {
    v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;
    std::string detail;
    ChatAnswer chat;
    bool retry = false;    // may pass by itself
    bool healthy = true;   // for the breaker
    bool charged = false;  // the endpoint may have worked for it
    Cost cost;             // as booked
    std::optional<absl::Time> pause_until;
  };
  using Messages = std::vector<ChatMessage>;

  v1::DiagnoseResult Report(const v1::DiagnoseRequest& request, const v1::Scene& scene, const v1::DiagnoseItem& item,
                            bool positive, absl::Time deadline) const;
  absl::StatusOr<Messages> Question(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                    const v1::DiagnoseItem& item, bool positive) const;
  // `spent` grows by what was booked.
  v1::DiagnoseResult Ask(Messages messages, const std::string& body, bool positive, absl::Time deadline, Cost* spent) const;
  Exchange Converse(const Messages& messages, const std::string& body, absl::Time deadline, Cost* spent) const;
  // Waits for leave to send. Nothing: go.
  std::optional<Exchange> Enter(const Cost& estimate, absl::Time deadline) const;
  // Precondition: Enter or TeacherLimits::Admit let it go.
  Exchange Send(const std::string& body, const Cost& estimate, absl::Time deadline,
                std::shared_ptr<const std::atomic<bool>> cancelled = nullptr) const;
  // Send, and once more after hedge_seconds without an answer, when limits and budget leave room. The first usable answer
  // counts; the other request is called off and booked at its estimate. openai_hedge.cc.
  Exchange SendHedged(const std::string& body, const Cost& estimate, absl::Time deadline) const;
  Exchange Judge(const absl::StatusOr<HttpReply>& reply, absl::Time now) const;
  Exchange JudgeError(const HttpReply& reply, absl::Time now) const;
  Cost Estimate(const Messages& messages) const;
  Cost CostOf(const Exchange& exchange, const Cost& estimate) const;
  void StampAs(bool positive, v1::Feedback* feedback) const;

  const Parts parts_;
  const TeacherMetrics metrics_;
  const std::unique_ptr<TaskPool> hedges_;  // null: hedge_seconds is 0
  const std::unique_ptr<TaskPool> pool_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_OPENAI_TEACHER_H_
