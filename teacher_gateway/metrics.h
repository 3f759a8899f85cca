// Every metric of the teacher gateway. Thread-safe; process-wide. `teacher` is the name in the teachers file: there are few.
#ifndef SWERVE_TEACHER_GATEWAY_METRICS_H_
#define SWERVE_TEACHER_GATEWAY_METRICS_H_

#include "base/metrics.h"
#include "swerve/v1/feedback.pb.h"

namespace swerve {

class TeacherMetrics {
 public:
  explicit TeacherMetrics(std::string teacher) : teacher_(std::move(teacher)) {}

  // What it was asked and how that ended, fallbacks of others included.
  prometheus::Counter& Reports(v1::Outcome outcome) const {
    return metrics::Counter("swerve_teacher_reports_total", "Reports asked for, by teacher and outcome",
                            {{"teacher", teacher_}, {"outcome", v1::Outcome_Name(outcome)}});
  }
  // Responses of its groups that another teacher ("none": nobody) answered.
  prometheus::Counter& FellTo(const std::string& to) const {
    return metrics::Counter("swerve_teacher_fallbacks_total", "Reports that a teacher's fallback gave in its stead",
                            {{"teacher", teacher_}, {"to", to}});
  }
  prometheus::Counter& Feedback() const {
    return Of("swerve_teacher_feedback_total", "Reports on failed responses that were checked for copies of the ground truth");
  }
  prometheus::Counter& FeedbackWithGroundTruth() const {
    return Of("swerve_teacher_feedback_with_ground_truth_total", "Of these, reports that contain ground-truth poses");
  }
  prometheus::Gauge& CopyRatio() const {
    return metrics::Gauge("swerve_teacher_feedback_with_ground_truth_ratio",
                          "Share of a teacher's reports that contain ground-truth poses", {{"teacher", teacher_}});
  }
  prometheus::Counter& Requests() const { return Of("swerve_teacher_requests_total", "HTTP requests sent"); }
  prometheus::Counter& Retries() const { return Of("swerve_teacher_retries_total", "HTTP requests sent again"); }
  prometheus::Counter& Repairs() const {
    return Of("swerve_teacher_repairs_total", "Answers sent back once because their sections were not valid");
  }
  prometheus::Counter& Hedges() const {
    return Of("swerve_teacher_hedges_total", "Requests sent a second time because no answer came");
  }
  prometheus::Counter& HedgesWon() const {
    return Of("swerve_teacher_hedges_won_total", "Of these, the ones whose answer counted");
  }
  prometheus::Histogram& ReportSeconds() const {
    return metrics::Histogram("swerve_teacher_report_seconds",
                              "Time of asking about one failed response, waiting, retries and repair included",
                              metrics::SecondsBuckets(), {{"teacher", teacher_}});
  }
  // Groups that a shadow was given (asked) or was too slow for (missed).
  prometheus::Counter& ShadowGroups(const std::string& result) const {
    return metrics::Counter("swerve_teacher_shadow_groups_total", "Copies of groups for a shadow teacher, by what became of them",
                            {{"teacher", teacher_}, {"result", result}});
  }
  prometheus::Histogram& RequestSeconds() const {
    return metrics::Histogram("swerve_teacher_request_seconds", "Time of one HTTP request", metrics::SecondsBuckets(),
                              {{"teacher", teacher_}});
  }
  prometheus::Counter& PromptTokens() const { return Tokens("prompt"); }
  prometheus::Counter& AnswerTokens() const { return Tokens("answer"); }
  prometheus::Counter& Money() const { return Of("swerve_teacher_money_total", "Spent, in the prices' currency"); }
  prometheus::Counter& CacheHits() const { return Of("swerve_teacher_cache_hits_total", "Reports that were remembered"); }
  prometheus::Counter& CacheMisses() const { return Of("swerve_teacher_cache_misses_total", "Reports that were not"); }
  prometheus::Gauge& Share() const {
    return metrics::Gauge("swerve_teacher_share_ratio", "Share of groups that go to a teacher", {{"teacher", teacher_}});
  }

  static prometheus::Gauge& CacheBytes() {
    return metrics::Gauge("swerve_teacher_cache_bytes", "Bytes of remembered reports");
  }
  static prometheus::Counter& StoreErrors() {
    return metrics::Counter("swerve_teacher_store_errors_total", "Reads and writes of remembered reports that failed");
  }
  static prometheus::Gauge& SetVersion() {
    return metrics::Gauge("swerve_teacher_set_version", "Grows with every change of the set of teachers");
  }
  // result: changed, refused.
  static prometheus::Counter& SetChanges(const std::string& result) {
    return metrics::Counter("swerve_teacher_set_changes_total", "Changes of the set of teachers", {{"result", result}});
  }

 private:
  prometheus::Counter& Of(const char* name, const char* help) const {
    return metrics::Counter(name, help, {{"teacher", teacher_}});
  }
  prometheus::Counter& Tokens(const char* side) const {
    return metrics::Counter("swerve_teacher_tokens_total", "Tokens, as the endpoint counts them",
                            {{"teacher", teacher_}, {"side", side}});
  }
  const std::string teacher_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_METRICS_H_
