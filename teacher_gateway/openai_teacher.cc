// The question, the check of the answer, and its repair. openai_exchange.cc talks to the endpoint.
#include "teacher_gateway/openai_teacher.h"

#include <algorithm>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "scenes/draw.h"
#include "teacher_gateway/per_item.h"
#include "teacher_gateway/report.h"

namespace swerve {
namespace {

constexpr size_t kWaitingReports = 4096;
constexpr size_t kQuotedAnswer = 4000;  // characters of an invalid answer that are sent back

v1::DiagnoseResult Failed(v1::Outcome outcome, std::string detail) {
  v1::DiagnoseResult result;
  result.set_outcome(outcome);
  result.set_detail(std::move(detail));
  return result;
}

std::string RepairText(const absl::Status& why) {
  return absl::StrCat("That answer cannot be used: ", std::string(why.message()),
                      ". Answer again with the JSON object alone, with exactly the members that were asked for.");
}

}  // namespace

OpenAiTeacher::OpenAiTeacher(Parts parts)
    : parts_(std::move(parts)),
      metrics_(parts_.spec.name()),
      hedges_(parts_.spec.hedge_seconds() > 0
                  ? std::make_unique<TaskPool>(3 * parts_.spec.concurrency(), kWaitingReports, "teacher-hedge")
                  : nullptr),
      pool_(std::make_unique<TaskPool>(parts_.spec.concurrency(), kWaitingReports, "teacher-http")) {}

std::string OpenAiTeacher::version(bool positive) const {
  return absl::StrCat(parts_.spec.model(), " template ", (positive ? parts_.correct : parts_.failed).version());
}

void OpenAiTeacher::StampAs(bool positive, v1::Feedback* feedback) const {
  feedback->set_teacher(parts_.spec.name());
  feedback->set_teacher_version(version(positive));
  feedback->set_template_hash((positive ? parts_.correct : parts_.failed).hash());
}

v1::DiagnoseReply OpenAiTeacher::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  return DiagnoseBy(request, scene, absl::InfiniteFuture());
}

v1::DiagnoseReply OpenAiTeacher::DiagnoseBy(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                            absl::Time deadline) const {
  deadline = std::min(deadline, parts_.clock.now() + absl::Seconds(parts_.spec.deadline_seconds()));
  std::vector<int> failed;
  v1::DiagnoseReply reply = DiagnoseEach(request, scene, name(), "",
                                         [&](const v1::DiagnoseItem&, int index, v1::Feedback*) { failed.push_back(index); });
  std::vector<int> correct;
  if (parts_.spec.ask_correct() && HasGroundTruth(scene)) {
    for (int i = 0; i < reply.results_size(); ++i) {
      if (reply.results(i).feedback().positive()) correct.push_back(i);
    }
  }
  absl::BlockingCounter left(static_cast<int>(failed.size() + correct.size()));
  const auto submit = [&](int index, bool positive) {
    pool_->Submit([&, index, positive] {
      const absl::Time start = parts_.clock.now();
      v1::DiagnoseResult result = Report(request, scene, request.items(index), positive, deadline);
      result.mutable_cost()->set_seconds(absl::ToDoubleSeconds(parts_.clock.now() - start));
      // Each task has a place of its own. The fixed praise stands when a correct response gets none written.
      if (!positive || result.outcome() == v1::OK) {
        *reply.mutable_results(index) = std::move(result);
      } else {
        *reply.mutable_results(index)->mutable_cost() = result.cost();
      }
      left.DecrementCount();
    });
  };
  for (const int index : failed) submit(index, false);
  for (const int index : correct) submit(index, true);
  left.Wait();
  return reply;
}

absl::StatusOr<OpenAiTeacher::Messages> OpenAiTeacher::Question(const v1::DiagnoseRequest& request,
                                                                const v1::Scene& scene, const v1::DiagnoseItem& item,
                                                                bool positive) const {
  const TemplateValues values = ValuesOf(scene, item, request.success_threshold());
  const PromptTemplate& words = positive ? parts_.correct : parts_.failed;
  Messages messages = {{"system", words.System(values), ""}, {"user", words.User(values), ""}};
  if (parts_.spec.image_size() > 0) {
    std::vector<DrawTrajectory> drawn = {{"expert", kColourGt, PosesOf(scene.gt())}};
    if (item.response().poses_size() > 0) {
      drawn.push_back({"policy", kColourFailing, PosesOf(item.response().poses())});
    }
    DrawOptions options;
    options.width = options.height = parts_.spec.image_size();
    SWERVE_ASSIGN_OR_RETURN(const std::string png, DrawScenePng(scene, drawn, options));
    messages.back().image_url = PngDataUrl(png);
  }
  return messages;
}

v1::DiagnoseResult OpenAiTeacher::Report(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                         const v1::DiagnoseItem& item, bool positive, absl::Time deadline) const {
  if (parts_.clock.now() >= deadline) {
    return Failed(v1::TIMEOUT, absl::StrCat("waited to the deadline for one of ", parts_.spec.concurrency(), " places"));
  }
  auto messages = Question(request, scene, item, positive);
  if (!messages.ok()) return Failed(v1::INTERNAL, std::string(messages.status().message()));
  const std::string body = ChatBody(parts_.spec, *messages);
  // The body holds the model, its parameters, the scene's picture, the response and all facts.
  const std::string key = absl::StrCat(name(), "\n", (positive ? parts_.correct : parts_.failed).hash(), "\n",
                                       parts_.spec.url(), "\n", body);
  if (parts_.store != nullptr) {
    if (std::optional<v1::Feedback> known = parts_.store->Get(key)) {
      metrics_.CacheHits().Increment();
      v1::DiagnoseResult result;
      result.set_outcome(v1::OK);
      *result.mutable_feedback() = *std::move(known);
      StampAs(positive, result.mutable_feedback());
      return result;
    }
    metrics_.CacheMisses().Increment();
  }
  Cost spent;
  v1::DiagnoseResult result = Ask(*std::move(messages), body, positive, deadline, &spent);
  result.mutable_cost()->set_tokens(spent.tokens);
  result.mutable_cost()->set_money(spent.money);
  if (result.outcome() == v1::OK) {
    StampAs(positive, result.mutable_feedback());
    if (parts_.store != nullptr) parts_.store->Put(key, result.feedback());
  }
  return result;
}

v1::DiagnoseResult OpenAiTeacher::Ask(Messages messages, const std::string& body, bool positive,
                                      absl::Time deadline, Cost* spent) const {
  Exchange exchange = Converse(messages, body, deadline, spent);
  if (exchange.outcome != v1::OK) return Failed(exchange.outcome, exchange.detail);
  absl::StatusOr<v1::Feedback> report = ParseReport(exchange.chat.content, positive);
  if (!report.ok()) {
    metrics_.Repairs().Increment();
    messages.push_back({"assistant", exchange.chat.content.substr(0, kQuotedAnswer), ""});
    messages.push_back({"user", RepairText(report.status()), ""});
    exchange = Converse(messages, ChatBody(parts_.spec, messages), deadline, spent);
    if (exchange.outcome != v1::OK) {
      return Failed(exchange.outcome, absl::StrCat("the answer was invalid, and its repair: ", exchange.detail));
    }
    report = ParseReport(exchange.chat.content, positive);
  }
  if (!report.ok()) {
    return Failed(v1::SCHEMA_INVALID, absl::StrCat("after one repair: ", std::string(report.status().message())));
  }
  v1::DiagnoseResult result;
  result.set_outcome(v1::OK);
  *result.mutable_feedback() = *std::move(report);
  return result;
}

}  // namespace swerve
