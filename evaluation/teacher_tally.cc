#include "evaluation/teacher_tally.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

struct Number {
  const char* name;
  double TeacherTally::*value;
};
constexpr Number kNumbers[] = {
    {"asked", &TeacherTally::asked},
    {"reports", &TeacherTally::reports},
    {"refinements", &TeacherTally::refinements},
    {"successes", &TeacherTally::successes},
    {"gain", &TeacherTally::gain},
    {"seconds", &TeacherTally::seconds},
    {"tokens", &TeacherTally::tokens},
    {"money", &TeacherTally::money},
    {"holds_ground_truth", &TeacherTally::holds_ground_truth},
    {"equals_ground_truth", &TeacherTally::equals_ground_truth},
};

void AddCost(const v1::AskCost& cost, bool failed_response, TeacherTally* tally) {
  if (failed_response) tally->seconds += cost.seconds();
  tally->tokens += cost.tokens();
  tally->money += cost.money();
}

void AddFailure(const v1::FailedTeacher& failed, bool failed_response, TeacherTallies* tallies) {
  TeacherTally& tally = (*tallies)[failed.teacher()];
  AddCost(failed.cost(), failed_response, &tally);
  if (!failed_response) return;
  tally.asked += 1;
  tally.failures[v1::Outcome_Name(failed.outcome())] += 1;
}

const std::string& NameOf(const v1::Feedback& feedback, const v1::Episode& episode) {
  return feedback.teacher().empty() ? episode.teacher() : feedback.teacher();
}

void AddSample(const v1::Episode& episode, const v1::Sample& sample, double s, TeacherTallies* tallies) {
  if (sample.outcome() != v1::OK || sample.feedback_outcome() == v1::OUTCOME_UNSPECIFIED) return;
  const bool failed_response = sample.reward().traj() < s;
  for (const v1::FailedTeacher& failed : sample.feedback().fallen_from()) AddFailure(failed, failed_response, tallies);
  for (const v1::FailedTeacher& failed : sample.feedback_failed()) AddFailure(failed, failed_response, tallies);
  if (sample.feedback_outcome() != v1::OK) {
    if (sample.feedback_failed().empty() && failed_response) {
      v1::FailedTeacher call;
      call.set_teacher(kTeacherGateway);
      call.set_outcome(sample.feedback_outcome());
      AddFailure(call, failed_response, tallies);
    }
    return;
  }
  if (!sample.has_feedback()) return;  // teacher `none`
  TeacherTally& tally = (*tallies)[NameOf(sample.feedback(), episode)];
  AddCost(sample.feedback().cost(), failed_response, &tally);
  if (!failed_response) return;
  tally.asked += 1;
  tally.reports += 1;
  tally.holds_ground_truth += sample.feedback().holds_ground_truth();
}

}  // namespace

void TeacherTally::Add(const TeacherTally& other) {
  for (const Number& n : kNumbers) this->*n.value += other.*n.value;
  for (const auto& [outcome, count] : other.failures) failures[outcome] += count;
}

double TeacherTally::failed() const {
  double sum = 0;
  for (const auto& [outcome, count] : failures) sum += count;
  return sum;
}

TeacherTallies TallyTeachers(const v1::Episode& episode, double s) {
  TeacherTallies tallies;
  for (const v1::Sample& sample : episode.samples()) AddSample(episode, sample, s, &tallies);
  for (const v1::Refinement& r : episode.refinements()) {
    if (r.of_sample() < 0 || r.of_sample() >= episode.samples_size()) continue;
    const v1::Sample& original = episode.samples(r.of_sample());
    if (!original.has_feedback() || original.reward().traj() >= s) continue;
    TeacherTally& tally = tallies[NameOf(original.feedback(), episode)];
    tally.refinements += 1;
    tally.successes += r.reward().traj() >= s;
    tally.gain += r.reward().traj() - original.reward().traj();
    tally.equals_ground_truth += r.equals_ground_truth();
  }
  // One that was only heard on correct responses, for nothing, tells nothing.
  std::erase_if(tallies, [](const auto& entry) { return entry.second.asked == 0 && entry.second.tokens == 0; });
  return tallies;
}

void AddTallies(const TeacherTallies& from, TeacherTallies* to) {
  for (const auto& [name, tally] : from) (*to)[name].Add(tally);
}

std::map<std::string, double> TallyMetrics(const TeacherTallies& tallies) {
  std::map<std::string, double> out;
  for (const auto& [name, t] : tallies) {
    const std::string prefix = absl::StrCat("teacher/", name, "/");
    const auto ratio = [&](const char* number, double part, double whole) {
      if (whole > 0) out[prefix + number] = part / whole;
    };
    out[prefix + "asked"] = t.asked;
    out[prefix + "reports"] = t.reports;
    for (const auto& [outcome, count] : t.failures) out[absl::StrCat(prefix, "failures/", absl::AsciiStrToLower(outcome))] = count;
    out[prefix + "refinements"] = t.refinements;
    ratio("refinement_success_rate", t.successes, t.refinements);
    ratio("pdms_gain", t.gain, t.refinements);
    ratio("seconds", t.seconds, t.asked);
    out[prefix + "tokens"] = t.tokens;
    out[prefix + "money"] = t.money;
    ratio("money_per_success", t.money, t.successes);
    ratio("tokens_per_success", t.tokens, t.successes);
    ratio("holds_ground_truth_ratio", t.holds_ground_truth, t.reports);
    ratio("equals_ground_truth_ratio", t.equals_ground_truth, t.refinements);
  }
  return out;
}

nlohmann::ordered_json TallyToJson(const TeacherTally& tally) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Number& n : kNumbers) {
    if (tally.*n.value != 0) json[n.name] = tally.*n.value;
  }
  if (!tally.failures.empty()) json["failures"] = tally.failures;
  return json;
}

TeacherTally TallyFromJson(const nlohmann::ordered_json& json) {
  TeacherTally tally;
  for (const Number& n : kNumbers) tally.*n.value = json.value(n.name, 0.0);
  tally.failures = json.value("failures", std::map<std::string, double>());
  return tally;
}

}  // namespace swerve
