// What a candidate costs, by stage, on one core: prints one JSON document.
//   bench_scorer [--repeats N] [--round SECONDS] [--threads 1,2]
// CPU time of the thread, least of the repeats, in microseconds a candidate, averaged over the scenes of a weight.
#include <hwy/targets.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/measure.h"
#include "bench/scorer_scenes.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"

namespace swerve::bench {
namespace {

using namespace pdm;  // NOLINT: the benchmark is about nothing else
using nlohmann::ordered_json;
using Plan = std::vector<Pose2>;

struct Options {
  int repeats = 15;
  double round = 5e-3;
  std::vector<int> threads{1, 2};
};

// One scene under one set of rules, with the candidates of one call.
struct Case {
  std::shared_ptr<const PreparedScene> scene;
  std::vector<Plan> plans;
  std::vector<absl::Span<const Pose2>> spans;
  std::vector<std::optional<PreviousPlan>> previous;
  std::vector<const PreviousPlan*> before;
};

Plan ToPlan(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
  Plan out;
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y(), p.heading()});
  return out;
}

std::vector<Case> MakeCases(const std::vector<v1::Scene>& scenes, Rules rules, int candidates) {
  std::vector<Case> out(scenes.size());
  for (size_t i = 0; i < scenes.size(); ++i) {
    out[i].scene = PreparedScene::Create(scenes[i], rules).value();
    for (int c = 0; c < candidates; ++c) {
      const v1::Candidate& candidate = scenes[i].candidates(c % scenes[i].candidates_size());
      out[i].plans.push_back(ToPlan(candidate.poses()));
      out[i].previous.push_back(SimulatePrevious(scenes[i], ToPlan(candidate.prev_poses())));
    }
    for (const Plan& p : out[i].plans) out[i].spans.emplace_back(p);
    for (const auto& p : out[i].previous) out[i].before.push_back(p.has_value() ? &*p : nullptr);
  }
  return out;
}

// What the stages hand on, of one block of candidates.
struct Block {
  const Case* at;
  size_t first;
  LaneKnots knots;
  LaneReference reference;
  SimulatedCandidates simulated;
  std::array<ComfortResult, kLanes> comfort;
  std::array<Motion, kLanes> motion;
  std::array<AreasAlong, kLanes> areas;
  std::array<Metrics, kLanes> metrics;
  std::array<Trace, kLanes> trace;

  absl::Span<const absl::Span<const Pose2>> plans() const { return absl::MakeConstSpan(at->spans).subspan(first, kLanes); }
  bool valid(int l) const { return simulated.invalid[l] == v1::INVALID_REASON_UNSPECIFIED; }
};

std::vector<std::unique_ptr<Block>> MakeBlocks(const std::vector<Case>& cases) {
  std::vector<std::unique_ptr<Block>> out;
  for (const Case& c : cases) {
    for (size_t first = 0; first < c.spans.size(); first += kLanes) {
      Block& b = *out.emplace_back(std::make_unique<Block>());
      b.at = &c;
      b.first = first;
      const PreparedScene& s = *c.scene;
      SimulateCandidates(s, b.plans(), &b.simulated);
      for (int l = 0; l < kLanes; ++l) {
        if (l >= b.simulated.count || !SetCandidateKnots(s.start(), b.plans()[l], l, &b.knots)) {
          SetParked(s.start(), s.grid().knots(), l, &b.knots);
        }
      }
      CheckComfort(s.options(), b.simulated.states, b.simulated.count, b.comfort.data());
      for (int l = 0; l < b.simulated.count; ++l) {
        MakeMotion(b.simulated.states, l, &b.motion[l]);
        b.areas[l] = s.map().Along(b.motion[l]);
        b.metrics[l] = EvaluateMotion(s.map(), s.observation(), b.motion[l], b.comfort[l], s.options(), &b.trace[l]);
      }
    }
  }
  return out;
}

using Stage = std::pair<const char*, std::function<void(Block&)>>;

// `work` for each valid candidate.
std::function<void(Block&)> Each(std::function<void(Block&, const PreparedScene&, int)> work) {
  return [work](Block& b) {
    for (int l = 0; l < b.simulated.count; ++l) {
      if (b.valid(l)) work(b, *b.at->scene, l);
    }
  };
}

std::vector<Stage> Stages(Rules rules) {
  std::vector<Stage> out = {
      {"interpolate", [](Block& b) {
         const PreparedScene& s = *b.at->scene;
         for (int l = 0; l < b.simulated.count; ++l) SetCandidateKnots(s.start(), b.plans()[l], l, &b.knots);
         InterpolateLanes(s.grid().places(), b.knots, b.simulated.count, &b.reference);
       }},
      {"track_and_simulate",
       [](Block& b) { SimulateLanes(b.at->scene->start(), b.reference, b.simulated.count, &b.simulated.states); }},
      {"comfort",
       [](Block& b) { CheckComfort(b.at->scene->options(), b.simulated.states, b.simulated.count, b.comfort.data()); }},
      {"motion_columns", Each([](Block& b, const PreparedScene&, int l) { MakeMotion(b.simulated.states, l, &b.motion[l]); })},
      {"areas", Each([](Block& b, const PreparedScene& s, int l) { b.areas[l] = s.map().Along(b.motion[l]); })},
      {"collision_and_ttc", Each([rules](Block& b, const PreparedScene& s, int l) {
         Metrics m;
         b.trace[l].contacts.clear();
         MeetObjects(b.motion[l], s.map(), s.observation(), b.areas[l], rules, &m, &b.trace[l]);
         Keep(m);
       })},
      {"driving_direction", Each([rules](Block& b, const PreparedScene&, int l) {
         Keep(DirectionCompliance(b.motion[l], b.areas[l], rules));
       })},
      {"progress", Each([](Block& b, const PreparedScene& s, int l) {
         Keep(s.map().centreline().Project(b.motion[l].Centre(pdm::kSteps)));
       })}};
  if (rules == Rules::kV2) {
    out.push_back({"traffic_lights", Each([](Block& b, const PreparedScene& s, int l) {
                     Keep(TrafficLights(b.motion[l], *s.options().red_lights));
                   })});
    out.push_back({"lane_keeping", Each([](Block& b, const PreparedScene& s, int l) {
                     Keep(LaneKeeping(b.motion[l], s.map(), b.areas[l]));
                   })});
    out.push_back({"extended_comfort", Each([](Block& b, const PreparedScene&, int l) {
                     const PreviousPlan* before = b.at->before[b.first + l];
                     if (before == nullptr) return;
                     Keep(ExtendedFeatures(b.simulated.states, l, 0, kSamples - before->offset).Comfortable(before->features));
                   })});
  }
  out.push_back({"facts", Each([](Block& b, const PreparedScene& s, int l) {
                   v1::FailureFacts facts;
                   MakeFacts(s, b.motion[l], b.metrics[l], b.trace[l], &facts);
                   Keep(facts);
                 })});
  return out;
}

void ScoreCase(const Case& c, Rules rules, bool facts) {
  if (IsV1(rules)) {
    Keep(ScoreTrajectories(*c.scene, c.spans, facts));
  } else {
    Keep(ScoreTrajectoriesV2(*c.scene, c.spans, c.before, facts));
  }
}

ordered_json Measure(const std::vector<v1::Scene>& scenes, Rules rules, int candidates, const Options& o) {
  const std::vector<Case> cases = MakeCases(scenes, rules, candidates);
  const double share = 1e6 / static_cast<double>(cases.size() * candidates);
  auto total = [&](bool facts) {
    return share * LeastSeconds([&] {
             for (const Case& c : cases) ScoreCase(c, rules, facts);
           }, o.repeats, o.round);
  };
  ordered_json out;
  out["candidates"] = candidates;
  out["us_per_candidate"] = total(true);
  out["us_per_candidate_without_facts"] = total(false);
  const auto blocks = MakeBlocks(cases);
  for (const auto& [name, work] : Stages(rules)) {
    const auto& stage = work;
    out["stages"][name] = share * LeastSeconds([&] {
                            for (const auto& b : blocks) stage(*b);
                          }, o.repeats, o.round);
  }
  return out;
}

ordered_json Prepare(const std::vector<v1::Scene>& scenes, const Options& o) {
  ordered_json out;
  for (Rules rules : {Rules::kV1, Rules::kV2}) {
    out[IsV1(rules) ? "v1" : "v2"] = 1e6 / static_cast<double>(scenes.size()) * LeastSeconds([&] {
      for (const v1::Scene& s : scenes) Keep(PreparedScene::Create(s, rules));
    }, o.repeats, o.round);
  }
  return out;
}

// Groups of 16 on several threads at once, each with all cases: how close to linear.
ordered_json Scaling(const std::vector<v1::Scene>& scenes, const Options& o) {
  constexpr int kGroup = 16, kRounds = 200;
  const std::vector<Case> cases = MakeCases(scenes, Rules::kV1, kGroup);
  ordered_json out = ordered_json::array();
  for (int n : o.threads) {
    double least_wall = 1e9, least_cpu = 1e9;
    for (int r = 0; r < 5; ++r) {
      const double wall = CpuSeconds(CLOCK_MONOTONIC), cpu = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
      std::vector<std::thread> threads;
      for (int t = 0; t < n; ++t) {
        threads.emplace_back([&] {
          for (int i = 0; i < kRounds; ++i) {
            for (const Case& c : cases) ScoreCase(c, Rules::kV1, true);
          }
        });
      }
      for (std::thread& t : threads) t.join();
      least_wall = std::min(least_wall, CpuSeconds(CLOCK_MONOTONIC) - wall);
      least_cpu = std::min(least_cpu, CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    const double scored = static_cast<double>(n) * kRounds * static_cast<double>(cases.size()) * kGroup;
    out.push_back({{"threads", n},
                   {"candidates_per_second", scored / least_wall},
                   {"cpu_us_per_candidate", 1e6 * least_cpu / scored}});
  }
  return out;
}

int Main(int argc, char** argv) {
  Options o;
  CLI::App app("What scoring a candidate costs, as JSON");
  app.add_option("--repeats", o.repeats, "Rounds; the least counts")->capture_default_str();
  app.add_option("--round", o.round, "Seconds of CPU per round")->capture_default_str();
  app.add_option("--threads", o.threads, "Threads of the scaling runs")->delimiter(',')->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const Scenes scenes = LoadScenes();
  const Calibration before = Calibrate();
  ordered_json out;
  const int64_t targets = hwy::SupportedTargets();
  out["vectors"] = hwy::TargetName(targets & -targets);
  for (const auto& [weight, list] : {std::pair{"light", &scenes.light}, {"heavy", &scenes.heavy}}) {
    ordered_json& w = out[weight];
    w["scenes"] = list->size();
    w["polygons"] = (*list)[0].resolved_v1().drivable_map_size();
    w["agents"] = (*list)[0].resolved_v1().agents_size();
    w["prepare_us_per_scene"] = Prepare(*list, o);
    for (Rules rules : {Rules::kV1, Rules::kV2}) {
      for (int n : {1, 12, 64}) w[IsV1(rules) ? "v1" : "v2_with_ec"].push_back(Measure(*list, rules, n, o));
    }
    w["scaling_v1_groups_of_16"] = Scaling(*list, o);
  }
  const Calibration after = Calibrate();
  out["calibration"] = {{"dependent_addition_ns", {before.chain_ns, after.chain_ns}},
                        {"memcpy_gb_per_s", {before.memcpy_gbs, after.memcpy_gbs}}};
  std::cout << out.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace swerve::bench

int main(int argc, char** argv) { return swerve::bench::Main(argc, argv); }
