#include "teacher_gateway/teacher_set.h"

#include <algorithm>
#include <cmath>
#include <google/protobuf/util/message_differencer.h>
#include <utility>

#include "base/random.h"
#include "teacher_gateway/copy_guard.h"
#include "teacher_gateway/openai_teacher.h"
#include "teacher_gateway/prompt_template.h"

namespace swerve {
namespace {

constexpr double kFallbackReserve = 0.1;  // of a group's time, for the fallback's own work and the way back

absl::StatusOr<std::shared_ptr<const Teacher>> Embedded(const v1::TeacherSpec& spec) {
  v1::TeacherConfig config;
  config.set_kind(spec.kind());
  config.set_report_noise(spec.report_noise());
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Teacher> teacher, CreateTeacher(config));
  return std::shared_ptr<const Teacher>(std::move(teacher));
}

// Nothing that the teacher itself is made from differs.
bool SameTeacher(v1::TeacherSpec a, v1::TeacherSpec b) {
  for (v1::TeacherSpec* spec : {&a, &b}) {
    spec->clear_weight();
    spec->clear_fallback();
    spec->clear_draining();
    spec->clear_shadow();
  }
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

absl::StatusOr<PromptTemplate> Template(const TeachersSource& source, int index, const char* field,
                                        const std::string& path, const PromptTemplate& shipped) {
  if (path.empty()) return shipped;
  auto read = PromptTemplate::Read(source.Beside(path));
  if (!read.ok()) return source.Refuse(index, field, absl::StrCat("cannot be used: ", std::string(read.status().message())));
  return read;
}

std::vector<int> WithoutReport(const v1::DiagnoseReply& reply) {
  std::vector<int> left;
  for (int i = 0; i < reply.results_size(); ++i) {
    if (reply.results(i).outcome() != v1::OK) left.push_back(i);
  }
  return left;
}

}  // namespace

absl::Status TeacherSet::MakeMember(const TeachersSource& source, int index, const TeacherParts& parts,
                                    const TeacherSet* previous, Member* member) {
  const v1::TeacherSpec& spec = source.file().teachers(index);
  member->spec = spec;
  member->metrics = std::make_shared<const TeacherMetrics>(spec.name());
  if (spec.kind() != "openai") {
    member->version = std::string("1");  // the plain literal wakes a false -Wrestrict of g++ 12
    auto teacher = Embedded(spec);
    if (!teacher.ok()) return source.Refuse(index, "kind", std::string(teacher.status().message()));
    member->teacher = *std::move(teacher);
    return absl::OkStatus();
  }
  auto key = ApiKey::Find(spec.key_env(), source.Beside(spec.key_file()));
  if (!key.ok()) {
    return source.Refuse(index, spec.key_env().empty() ? "key_file" : "key_env",
                         absl::StrCat("gives no key: ", std::string(key.status().message())));
  }
  SWERVE_ASSIGN_OR_RETURN(PromptTemplate failed, Template(source, index, "failed_template", spec.failed_template(),
                                                          PromptTemplate::ShippedFailed()));
  SWERVE_ASSIGN_OR_RETURN(PromptTemplate correct, Template(source, index, "correct_template", spec.correct_template(),
                                                           PromptTemplate::ShippedCorrect()));
  member->key = *std::move(key);
  member->template_hash = failed.hash() + "/" + correct.hash();
  const Member* old = previous == nullptr ? nullptr : previous->Find(spec.name());
  if (old != nullptr && old->limits != nullptr) member->limits = old->limits;
  if (member->limits == nullptr) {
    const Cost spent = parts.store == nullptr ? Cost() : parts.store->Spent(spec.name());
    member->limits = std::make_shared<TeacherLimits>(spec, spent);
  }
  if (old != nullptr && SameTeacher(old->spec, spec) && old->key == member->key &&
      old->template_hash == member->template_hash) {
    member->teacher = old->teacher;
    member->version = old->version;
    return absl::OkStatus();
  }
  v1::TeacherSpec resolved = spec;
  resolved.set_ca_file(source.Beside(spec.ca_file()));
  auto teacher = std::make_shared<OpenAiTeacher>(OpenAiTeacher::Parts{
      std::move(resolved), member->key, std::move(failed), std::move(correct), parts.http, member->limits, parts.store,
      parts.clock});
  member->version = teacher->version();
  member->teacher = std::move(teacher);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const TeacherSet>> TeacherSet::Build(const TeachersSource& source,
                                                                    const TeacherParts& parts,
                                                                    const TeacherSet* previous, uint64_t version) {
  auto set = std::make_shared<TeacherSet>();
  set->version_ = version;
  set->clock_ = parts.clock;
  double sum = 0;
  for (int i = 0; i < source.file().teachers_size(); ++i) {
    Member member;
    SWERVE_RETURN_IF_ERROR(MakeMember(source, i, parts, previous, &member));
    member.share = member.spec.draining() ? 0 : member.spec.weight();
    if (!member.spec.shadow()) sum += member.share;
    set->members_.push_back(std::move(member));
  }
  for (Member& member : set->members_) {
    if (!member.spec.shadow()) member.share /= sum;
  }
  for (const char* kind : {"oracle", "rule"}) {
    Member& member = set->embedded_[kind];
    member.spec.set_name(kind);
    member.spec.set_kind(kind);
    SWERVE_ASSIGN_OR_RETURN(member.teacher, Embedded(member.spec));
    member.metrics = std::make_shared<const TeacherMetrics>(kind);
  }
  // From here on nothing fails: limits that `previous` shares may change.
  for (const Member& member : set->members_) {
    if (member.limits != nullptr) member.limits->Configure(member.spec);
  }
  return std::shared_ptr<const TeacherSet>(std::move(set));
}

const TeacherSet::Member* TeacherSet::Find(const std::string& name) const {
  for (const Member& member : members_) {
    if (member.spec.name() == name) return &member;
  }
  const auto embedded = embedded_.find(name);
  return embedded == embedded_.end() ? nullptr : &embedded->second;
}

const TeacherSet::Member& TeacherSet::ArmOf(const std::string& scene_id, uint64_t group) const {
  // Weighted rendezvous: the largest of -share / ln(u), u from a hash of (scene, group, teacher).
  const Member* best = nullptr;
  double best_score = -1;
  for (const Member& member : members_) {
    if (member.share <= 0 || member.spec.shadow()) continue;
    Random random(StreamSeed(HashName("teacher arm"), HashName(scene_id), group, HashName(member.spec.name())));
    const double score = -member.share / std::log(1 - random.Uniform());
    if (best == nullptr || score > best_score) {
      best = &member;
      best_score = score;
    }
  }
  return *best;  // somebody has a share: TeachersSource sees to it
}

std::vector<const TeacherSet::Member*> TeacherSet::ShadowsOf(const std::string& scene_id, uint64_t group) const {
  std::vector<const Member*> shadows;
  for (const Member& member : members_) {
    if (!member.spec.shadow() || member.share <= 0) continue;
    Random random(StreamSeed(HashName("teacher shadow"), HashName(scene_id), group, HashName(member.spec.name())));
    if (random.Uniform() < member.share) shadows.push_back(&member);
  }
  return shadows;
}

void TeacherSet::AskShadow(const Member& shadow, const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  Ask(shadow, request, scene, absl::InfiniteFuture());
}

v1::DiagnoseReply TeacherSet::Ask(const Member& member, const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                  absl::Time deadline) const {
  const absl::Time start = clock_.now();
  v1::DiagnoseReply reply = member.teacher->DiagnoseBy(request, scene, deadline);
  const double each = absl::ToDoubleSeconds(clock_.now() - start) / std::max(1, reply.results_size());
  for (v1::DiagnoseResult& result : *reply.mutable_results()) {
    if (!result.has_cost()) result.mutable_cost()->set_seconds(each);  // embedded: one after the other
    member.metrics->Reports(result.outcome()).Increment();
    if (!result.feedback().positive()) member.metrics->ReportSeconds().Observe(result.cost().seconds());
    if (!result.has_feedback()) continue;
    v1::Feedback* feedback = result.mutable_feedback();
    feedback->set_teacher(member.spec.name());
    *feedback->mutable_cost() = result.cost();
    if (feedback->positive()) continue;
    member.metrics->Feedback().Increment();
    if (HoldsGroundTruth(absl::StrCat(feedback->prompt_text(), "\n", feedback->injected_text()), scene)) {
      feedback->set_holds_ground_truth(true);
      member.metrics->FeedbackWithGroundTruth().Increment();
    }
    member.metrics->CopyRatio().Set(member.metrics->FeedbackWithGroundTruth().Value() /
                                    member.metrics->Feedback().Value());
  }
  return reply;
}

v1::DiagnoseReply TeacherSet::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                       absl::Time deadline) const {
  const Member& arm = ArmOf(scene.id(), request.group());
  const absl::Time now = clock_.now();
  const absl::Time asked_until = deadline == absl::InfiniteFuture() ? deadline : deadline - kFallbackReserve * (deadline - now);
  v1::DiagnoseReply reply = Ask(arm, request, scene, asked_until);
  reply.set_teacher(arm.spec.name());
  reply.set_set_version(version_);
  std::vector<int> left = WithoutReport(reply);
  std::map<int, std::vector<v1::FailedTeacher>> fallen;
  const auto note = [&](int index, const Member& member, const v1::DiagnoseResult& result) {
    v1::FailedTeacher& failed = fallen[index].emplace_back();
    failed.set_teacher(member.spec.name());
    failed.set_outcome(result.outcome());
    *failed.mutable_cost() = result.cost();
  };
  for (const int index : left) note(index, arm, reply.results(index));
  for (const std::string& name : arm.spec.fallback()) {
    const Member* next = Find(name);
    if (left.empty() || next == nullptr || next->spec.kind() == "none") break;  // "none" ends the chain
    if (next->spec.draining()) continue;
    v1::DiagnoseRequest again = request;
    again.clear_items();
    for (const int index : left) *again.add_items() = request.items(index);
    v1::DiagnoseReply second = Ask(*next, again, scene, asked_until);
    std::vector<int> still;
    for (size_t i = 0; i < left.size(); ++i) {
      v1::DiagnoseResult& result = *second.mutable_results(static_cast<int>(i));
      if (result.outcome() != v1::OK) {
        note(left[i], *next, result);
        still.push_back(left[i]);
        absl::StrAppend(reply.mutable_results(left[i])->mutable_detail(), "; then ", name, ": ", result.detail());
        reply.mutable_results(left[i])->set_outcome(result.outcome());
        *reply.mutable_results(left[i])->mutable_cost() = result.cost();
        continue;
      }
      if (result.has_feedback()) {
        for (v1::FailedTeacher& failed : fallen[left[i]]) *result.mutable_feedback()->add_fallen_from() = std::move(failed);
      }
      *reply.mutable_results(left[i]) = std::move(result);
      arm.metrics->FellTo(name).Increment();
    }
    left = std::move(still);
  }
  for (const int index : left) {
    for (v1::FailedTeacher& failed : fallen[index]) *reply.mutable_results(index)->add_failed() = std::move(failed);
  }
  if (!left.empty()) arm.metrics->FellTo("none").Increment(static_cast<double>(left.size()));
  return reply;
}

}  // namespace swerve
