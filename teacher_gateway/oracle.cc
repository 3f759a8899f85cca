#include "teacher_gateway/oracle.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "scenes/prompt.h"
#include "teacher_gateway/correction.h"
#include "teacher_gateway/per_item.h"

namespace swerve {
namespace {

constexpr char kTemplates[] =
    "wrong. action: should be {lon}, {lat}, not {lon}, {lat}. think: {role} is at {d} m, not {d} m. missed {role} "
    "{type} at {d} m. {role} speed is {v}, not {v}. there is no {role}. says {lon}, {lat}. safety: {part} hits {type} at "
    "{t} s. off road {side} at {t} s by {d} m. too close "
    "to {type} at {t} s. against traffic. efficiency: progress {p} percent. {limit} too high at {t} s. fix: {lon "
    "correction} {lat correction}";
constexpr size_t kClauses = 2;  // per section: what a small policy can take in

const char* PartWord(v1::EgoPart part) {
  switch (part) {
    case v1::FRONT: return "front";
    case v1::REAR: return "rear";
    case v1::LEFT: return "left side";
    case v1::RIGHT: return "right side";
    default: return "ego";
  }
}

// "lon_jerk" → "lon jerk".
std::string LimitWords(std::string limit) {
  std::replace(limit.begin(), limit.end(), '_', ' ');
  return limit;
}

// Everything one report is made from.
struct Case {
  const v1::Scene& scene;
  const v1::DiagnoseItem& item;
  MetaAction wanted;                // of the ground truth
  std::optional<MetaAction> drove;  // of the response's plan; absent when it has none
  ThinkClaims claims;
};

std::string Joined(std::vector<std::string> clauses, const char* when_none) {
  if (clauses.empty()) return when_none;
  if (clauses.size() > kClauses) clauses.resize(kClauses);
  return absl::StrJoin(clauses, " ");
}

std::string MetaActionSection(const Case& c) {
  const std::string wanted = absl::StrCat(c.wanted.longitudinal, ", ", c.wanted.lateral);
  if (!c.drove) return absl::StrCat("should be ", wanted, ".");
  const std::string drove = absl::StrCat(c.drove->longitudinal, ", ", c.drove->lateral);
  return drove == wanted ? absl::StrCat(wanted, " is right.") : absl::StrCat("should be ", wanted, ", not ", drove, ".");
}

// Holds one claimed road user against the true one; `what` is how the report calls it.
void CheckClaim(const std::string& what, const std::optional<ThinkClaims::Claim>& claim, const SceneObject* truth,
                double distance, std::vector<std::string>* clauses) {
  const bool claimed = claim.has_value() && !claim->type.empty();
  if (truth == nullptr) {
    if (claimed) clauses->push_back(absl::StrCat("there is no ", what, "."));
    return;
  }
  if (!claimed) {
    clauses->push_back(absl::StrFormat("missed %s %s at %.0f m.", what, TypeName(truth->type), distance));
  } else if (std::abs(claim->distance - distance) > std::max(2.0, 0.25 * distance)) {
    clauses->push_back(absl::StrFormat("%s is at %.0f m, not %.0f m.", what, distance, claim->distance));
  } else if (claim->speed && std::abs(*claim->speed - truth->speed) > 2.0) {
    clauses->push_back(absl::StrFormat("%s speed is %.1f, not %.1f.", what, truth->speed, *claim->speed));
  }
}

std::string ThinkSection(const Case& c, double noise, Random* random) {
  const ThinkClaims& claims = c.claims;
  if (!claims.lead && !claims.merge && !claims.interaction && !claims.plan) return "the think section cannot be read.";
  // The think section speaks of the first of each kind; crossing goes before oncoming before static.
  const SceneObject* lead = nullptr;
  const SceneObject* merge = nullptr;
  const SceneObject* interaction = nullptr;
  const std::vector<SceneObject> objects = CriticalObjects(c.scene);
  for (const SceneObject& object : objects) {
    const SceneObject** place = object.role == "lead" ? &lead : object.role == "merging" ? &merge : &interaction;
    if (*place == nullptr) *place = &object;
  }
  const auto seen = [&](const SceneObject* object) {
    const double error = noise > 0 ? noise * random->Normal() : 0;
    return object == nullptr ? 0.0 : std::max(0.0, object->distance + error);
  };
  std::vector<std::string> clauses;
  CheckClaim("lead", claims.lead, lead, seen(lead), &clauses);
  CheckClaim("merge", claims.merge, merge, seen(merge), &clauses);
  CheckClaim(interaction == nullptr ? "interaction" : interaction->role, claims.interaction, interaction,
             seen(interaction), &clauses);
  if (c.drove && claims.plan && !(*claims.plan == *c.drove)) {
    clauses.push_back(absl::StrCat("says ", claims.plan->longitudinal, ", ", claims.plan->lateral, "."));
  }
  return Joined(std::move(clauses), "objects are right.");
}

std::string SafetySection(const v1::Reward& reward) {
  const v1::FailureFacts& facts = reward.facts();
  std::vector<std::string> clauses;
  if (reward.invalid() == v1::UNPARSED || reward.invalid() == v1::WRONG_SHAPE) {
    clauses.push_back("no 8 poses could be read.");
  } else if (reward.invalid() != v1::INVALID_REASON_UNSPECIFIED) {
    clauses.push_back("the poses cannot be driven.");
  }
  std::string hit;
  for (const v1::CollisionFact& fact : facts.collisions()) {
    if (!hit.empty() && !fact.at_fault()) continue;
    if (hit == fact.object()) continue;
    hit = fact.object();
    clauses.push_back(
        absl::StrFormat("%s hits %s at %.1f s.", PartWord(fact.ego_part()), TypeName(fact.type()), fact.time_s()));
  }
  if (facts.has_off_road()) {
    const v1::OffRoadFact& off = facts.off_road();
    clauses.insert(clauses.begin() + std::min<size_t>(1, clauses.size()),
                   absl::StrFormat("off road %s at %.1f s by %.1f m.", off.side() == v1::LEFT ? "left" : "right",
                                   off.time_s(), off.overshoot()));
  }
  if (facts.has_ttc() && hit != facts.ttc().object()) {
    clauses.push_back(absl::StrFormat("too close to %s at %.1f s.", TypeName(facts.ttc().type()), facts.ttc().time_s()));
  }
  if (reward.has_scores() && reward.scores().ddc() < 1) clauses.push_back("against traffic.");
  if (facts.has_red_light()) clauses.push_back(absl::StrFormat("runs red light at %.1f s.", facts.red_light().time_s()));
  if (facts.has_lane()) clauses.push_back(absl::StrFormat("%.1f m beside the lane.", facts.lane().offset()));
  return Joined(std::move(clauses), "no failure.");
}

std::string EfficiencySection(const v1::Reward& reward) {
  std::vector<std::string> clauses;
  const v1::ProgressFact& progress = reward.facts().progress();
  if (reward.facts().has_progress() && progress.reference() > 0.5) {
    const double percent = 100 * std::clamp(progress.candidate() / progress.reference(), 0.0, 2.0);
    clauses.push_back(absl::StrFormat("progress %.0f percent.", percent));
  }
  for (const v1::ComfortFact& fact : reward.facts().comfort()) {
    clauses.push_back(absl::StrFormat("%s too high at %.1f s.", LimitWords(fact.limit()), fact.time_s()));
  }
  return Joined(std::move(clauses), "no failure.");
}

Correction Noisy(Correction c, double noise, Random* random) {
  if (noise <= 0) return c;
  for (double* value : {&c.at2.travelled, &c.at4.travelled, &c.at2.lateral, &c.at4.lateral}) {
    *value += noise * random->Normal();
  }
  return c;
}

}  // namespace

v1::DiagnoseReply OracleTeacher::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  const std::vector<v1::Pose> truth = PosesOf(scene.gt());
  return DiagnoseEach(request, scene, name(), kTemplates, [&](const v1::DiagnoseItem& item, int index,
                                                              v1::Feedback* f) {
    Case c{scene, item, MetaActionOf(scene, truth), std::nullopt, ReadThink(item.response().text())};
    if (item.response().poses_size() == 8) c.drove = MetaActionOf(scene, PosesOf(item.response().poses()));
    Random random(StreamSeed(HashName("report noise"), HashName(scene.id()), request.group(), index));
    f->set_meta_action(MetaActionSection(c));
    f->set_think_process(ThinkSection(c, report_noise_, &random));
    f->set_safety(SafetySection(item.reward()));
    f->set_efficiency(EfficiencySection(item.reward()));
    const Correction correction = Noisy(CorrectionOf(truth), report_noise_, &random);
    f->set_longitudinal_correction(LongitudinalText(correction));
    f->set_lateral_correction(LateralText(correction));
    f->set_prompt_text(absl::StrCat("wrong. action: ", f->meta_action(), " think: ", f->think_process(),
                                    " safety: ", f->safety(), " efficiency: ", f->efficiency(),
                                    " fix: ", f->longitudinal_correction(), " ", f->lateral_correction()));
  });
}

}  // namespace swerve
