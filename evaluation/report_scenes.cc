#include "evaluation/report_scenes.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evaluation/chart.h"
#include "evaluation/scene_svg.h"
#include "reward_service/rewards.h"
#include "teacher_gateway/teacher.h"

namespace swerve {
namespace {

// What stands between <think> and </think>; the whole text when there is no such section.
std::string ThinkOf(const std::string& text) {
  const size_t open = text.find("<think>");
  const size_t close = text.find("</think>");
  if (open == std::string::npos || close == std::string::npos || close < open) return text;
  return text.substr(open + 7, close - open - 7);
}

struct Card {
  const v1::Scene* scene = nullptr;  // null: not at hand
  std::string scene_id, family, note;
  ShownResponse failing, refined;
  std::string failing_name, refined_name;
  std::string feedback;  // the report as the policy reads it
  std::string teacher_name;
  v1::FailureFacts facts;  // of the failing answer
};

ShownResponse Shown(const EvalAnswer& a) {
  return {a.response.text(), {a.response.poses().begin(), a.response.poses().end()}, a.reward.traj()};
}

std::vector<DrawnMark> Marks(const Card& card) {
  std::vector<DrawnMark> marks;
  if (card.facts.collisions_size() > 0) {
    const v1::CollisionFact& hit = card.facts.collisions(0);
    marks.push_back({hit.x(), hit.y(), absl::StrFormat("collision with %s at %.1f s", hit.object(), hit.time_s())});
  }
  if (card.facts.has_off_road()) {
    const v1::OffRoadFact& off = card.facts.off_road();
    marks.push_back({off.x(), off.y(), absl::StrFormat("leaves the road at %.1f s, by %.1f m", off.time_s(), off.overshoot())});
  }
  return marks;
}

std::string Step(const char* css, const std::string& name, const ShownResponse& r) {
  return absl::StrCat("<div class=\"step ", css, "\"><h3>", EscapeHtml(name), " <span>PDMS ",
                      absl::StrFormat("%.2f", r.pdms), "</span></h3><p>", EscapeHtml(ThinkOf(r.text)), "</p></div>");
}

// The report's prompt text, its sections set apart where it has the oracle's labels.
std::string TeacherStep(const Card& card) {
  if (card.feedback.empty()) return "";
  std::string body, rest = card.feedback, name = "verdict";
  const auto add = [&](const std::string& text) {
    absl::StrAppend(&body, "<dt>", name, "</dt><dd>", EscapeHtml(absl::StripAsciiWhitespace(text)), "</dd>");
  };
  for (const char* label : {"action", "think", "safety", "efficiency", "fix"}) {
    const std::string mark = absl::StrCat(label, ": ");
    const size_t at = rest.find(mark);
    if (at == std::string::npos) continue;
    add(rest.substr(0, at));
    name = label;
    rest = rest.substr(at + mark.size());
  }
  add(rest);
  return absl::StrCat("<div class=\"step teacher\"><h3>", EscapeHtml(card.teacher_name), "</h3><dl>", body,
                      "</dl></div>");
}

std::string CardHtml(const Card& card) {
  std::string html = absl::StrCat("<article class=\"card\"><header><b>", EscapeHtml(card.scene_id), "</b><span>",
                                  EscapeHtml(card.family), "</span><span>", EscapeHtml(card.note),
                                  "</span></header><div class=\"body\"><div>");
  if (card.scene != nullptr) {
    const std::vector<v1::Pose> gt(card.scene->gt().begin(), card.scene->gt().end());
    html += SceneSvg(*card.scene,
                     {{card.failing.poses, "failing", card.failing_name},
                      {card.refined.poses, "refined", card.refined_name},
                      {gt, "gt", "ground truth"}},
                     Marks(card));
    absl::StrAppend(&html, "<div class=\"legend\"><span><i class=\"failing\"></i>", EscapeHtml(card.failing_name),
                    "</span><span><i class=\"refined\"></i>", EscapeHtml(card.refined_name),
                    "</span><span><i class=\"gt\"></i>ground truth</span></div>");
  } else {
    html += "<p class=\"none\">This scene is not in the data sets at hand; give them with --scenes to draw it.</p>";
  }
  absl::StrAppend(&html, "</div><div>", Step("failing", card.failing_name, card.failing), TeacherStep(card),
                  Step("refined", card.refined_name, card.refined), "<details><summary>full answers</summary><code>",
                  EscapeHtml(card.failing.text), "<br><br>", EscapeHtml(card.refined.text),
                  "</code></details></div></div></article>");
  return html;
}

// The failing answer once more, for its facts and the oracle's report.
void Diagnose(const v1::Scene& scene, Card* card) {
  const auto target = PrepareTarget(scene);
  if (!target.ok()) return;
  v1::ScoreCandidate candidate;
  candidate.mutable_poses()->Assign(card->failing.poses.begin(), card->failing.poses.end());
  candidate.set_text(card->failing.text);
  candidate.set_parse(card->failing.poses.empty() ? v1::FAILED : v1::EXACT);
  v1::DiagnoseRequest request;
  request.set_scene_id(scene.id());
  request.set_success_threshold(0.8);
  v1::DiagnoseItem* item = request.add_items();
  *item->mutable_reward() = ScoreCandidate(**target, candidate, UnitWeights());
  item->mutable_response()->set_text(card->failing.text);
  item->mutable_response()->mutable_poses()->Assign(card->failing.poses.begin(), card->failing.poses.end());
  card->facts = item->reward().facts();
  if (!card->feedback.empty()) return;
  v1::TeacherConfig config;
  config.set_kind("oracle");
  const auto teacher = CreateTeacher(config);
  if (!teacher.ok()) return;
  const v1::DiagnoseReply reply = (*teacher)->Diagnose(request, scene);
  if (reply.results_size() == 1 && reply.results(0).outcome() == v1::OK) {
    card->feedback = reply.results(0).feedback().prompt_text();
  }
}

std::shared_ptr<const v1::Scene> Find(const std::shared_ptr<const SceneStore>& store, const std::string& id) {
  if (store == nullptr) return nullptr;
  auto scene = store->Get(id);
  return scene.ok() ? *std::move(scene) : nullptr;
}

// Sampled answers by scene, and the greedy one.
struct SceneAnswers {
  const EvalAnswer* greedy = nullptr;
  std::vector<const EvalAnswer*> samples;
  bool AllFailed() const {
    return !samples.empty() &&
           std::all_of(samples.begin(), samples.end(), [](const EvalAnswer* a) { return a->reward.traj() == 0; });
  }
};

std::map<std::string, SceneAnswers> ByScene(const std::vector<EvalAnswer>& answers) {
  std::map<std::string, SceneAnswers> scenes;
  for (const EvalAnswer& a : answers) {
    if (a.sample == 0) {
      scenes[a.scene_id].greedy = &a;
    } else {
      scenes[a.scene_id].samples.push_back(&a);
    }
  }
  return scenes;
}

const EvalAnswer* Best(const SceneAnswers& s) {
  if (s.greedy != nullptr && s.greedy->reward.traj() > 0) return s.greedy;
  return *std::max_element(s.samples.begin(), s.samples.end(), [](const EvalAnswer* a, const EvalAnswer* b) {
    return a->reward.traj() < b->reward.traj();
  });
}

// Takes the first of every family, then the second, …
template <typename T>
std::vector<T> FamiliesInTurn(std::map<std::string, std::vector<T>> by_family) {
  std::vector<T> out;
  for (size_t round = 0;; ++round) {
    bool any = false;
    for (auto& [family, members] : by_family) {
      if (round >= members.size()) continue;
      out.push_back(std::move(members[round]));
      any = true;
    }
    if (!any) return out;
  }
}

}  // namespace

std::vector<FixedScene> FindFixed(const std::vector<EvalAnswer>& before, const std::vector<EvalAnswer>& after,
                                  int* failed_before, int* still_failing) {
  *failed_before = *still_failing = 0;
  const auto then = ByScene(before), now = ByScene(after);
  std::map<std::string, std::vector<FixedScene>> by_family;
  for (const auto& [id, old] : then) {
    const auto it = now.find(id);
    if (!old.AllFailed() || it == now.end() || it->second.samples.empty()) continue;
    ++*failed_before;
    if (it->second.AllFailed()) {
      ++*still_failing;
      continue;
    }
    const EvalAnswer* failing = old.greedy != nullptr && old.greedy->reward.traj() == 0 ? old.greedy : old.samples[0];
    by_family[failing->family].push_back({id, failing->family, *failing, *Best(it->second)});
  }
  for (auto& [family, scenes] : by_family) {
    std::stable_sort(scenes.begin(), scenes.end(), [](const FixedScene& a, const FixedScene& b) {
      return a.refined.reward.traj() > b.refined.reward.traj();
    });
  }
  return FamiliesInTurn(std::move(by_family));
}

std::string HeldOutSection(const ReportInput& input) {
  if (input.answers_before.empty() || input.answers_after.empty()) return "";
  int failed = 0, still = 0;
  const std::vector<FixedScene> fixed = FindFixed(input.answers_before, input.answers_after, &failed, &still);
  std::string html = absl::StrFormat(
      "<h2>Total failures that are none any more</h2><p class=\"lead\">Held-out scenes in which all sampled answers scored "
      "0 before training: %d. After training %d of them have an answer that works%s. The teacher's words are the "
      "oracle's on the failing answer, written for this page: these scenes were never trained on.</p>",
      failed, failed - still, fixed.size() > input.max_scenes ? absl::StrCat("; ", input.max_scenes, " are shown") : "");
  for (size_t i = 0; i < std::min(fixed.size(), input.max_scenes); ++i) {
    const std::shared_ptr<const v1::Scene> scene = Find(input.held_out, fixed[i].scene_id);
    Card card{scene.get(), fixed[i].scene_id, fixed[i].family, "", Shown(fixed[i].failing), Shown(fixed[i].refined),
              "before", fixed[i].refined.sample == 0 ? "after" : "after (best sample)", {}, "the oracle's report", {}};
    if (scene != nullptr) Diagnose(*scene, &card);
    html += CardHtml(card);
  }
  return html;
}

std::string RescuedSection(const ReportInput& input) {
  std::map<std::string, std::pair<int, int>> failed_of;  // scene → groups, total failures
  std::map<std::string, const GroupRecord*> best, last;
  for (const GroupRecord& g : input.groups) {
    ++failed_of[g.scene_id].first;
    failed_of[g.scene_id].second += g.total_failure;
    last[g.scene_id] = &g;
    if (!g.rescued) continue;
    const GroupRecord*& slot = best[g.scene_id];
    if (slot == nullptr || g.refined.pdms > slot->refined.pdms) slot = &g;
  }
  if (best.empty()) return "";
  std::map<std::string, std::vector<Card>> by_family;
  std::vector<std::shared_ptr<const v1::Scene>> keep;
  int recovered = 0;
  for (const auto& [id, g] : best) {
    const bool solved = last[id]->group > g->group && !last[id]->total_failure;
    recovered += solved;
    const std::shared_ptr<const v1::Scene> scene = Find(input.training, id);
    keep.push_back(scene);
    Card card{scene.get(), id, scene ? scene->family() : "", "", g->failing, g->refined, "first answer", "refined", {},
              "the teacher's report", {}};
    card.note = absl::StrFormat("group %d, weights v%d: all %d answers failed%s", g->group, g->weight_version,
                                g->originals, solved ? "; solved without feedback later in the run" : "");
    card.feedback = g->feedback;
    // Those that the policy learnt to solve come first.
    by_family[card.family].insert(solved ? by_family[card.family].begin() : by_family[card.family].end(), card);
  }
  std::string html = absl::StrFormat(
      "<h2>Feedback at work</h2><p class=\"lead\">Training scenes in which every sampled answer failed and the teacher's "
      "report led the same policy to one that works: %d. In %d of them the last group of the run no longer failed without "
      "a report.</p>",
      best.size(), recovered);
  std::vector<Card> cards = FamiliesInTurn(std::move(by_family));
  for (size_t i = 0; i < std::min(cards.size(), input.max_scenes); ++i) {
    if (cards[i].scene != nullptr) Diagnose(*cards[i].scene, &cards[i]);
    html += CardHtml(cards[i]);
  }
  return html;
}

}  // namespace swerve
