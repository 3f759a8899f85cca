// What a candidate costs, on the public golden scenes of tests/golden.
//   bench_scorer [--benchmark_filter=…]
#include <benchmark/benchmark.h>

#include <algorithm>

#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "base/gzip.h"
#include "scenes/scene_json.h"

namespace swerve::pdm {
namespace {

struct Case {
  v1::Scene scene;
  std::shared_ptr<const PreparedScene> v1, v2;
  std::vector<std::vector<Pose2>> poses;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> out;
    auto text = ReadMaybeGzip(SWERVE_SOURCE_DIR "/tests/golden/pdms/public/scenes.json.gz");
    SceneFile file = ParseSceneFile(text.value()).value();
    for (v1::Scene& scene : file.scenes) {
      Case c;
      c.scene = std::move(scene);
      c.v1 = PreparedScene::Create(c.scene, Rules::kV1).value();
      c.v2 = PreparedScene::Create(c.scene, Rules::kV2).value();
      for (const v1::Candidate& candidate : c.scene.candidates()) {
        std::vector<Pose2>& poses = c.poses.emplace_back();
        for (const v1::Pose& p : candidate.poses()) poses.push_back({p.x(), p.y(), p.heading()});
      }
      out.push_back(std::move(c));
    }
    return out;
  }();
  return cases;
}

// Weight of a scene: polygons and agents. 0: the lightest, 1: the median, 2: the heaviest of the golden scenes.
const Case& CaseOf(int which) {
  static const std::vector<const Case*> sorted = [] {
    std::vector<const Case*> out;
    for (const Case& c : Cases()) out.push_back(&c);
    auto weight = [](const Case* c) {
      return c->scene.resolved_v1().drivable_map_size() + c->scene.resolved_v1().agents_size();
    };
    std::stable_sort(out.begin(), out.end(), [&](const Case* a, const Case* b) { return weight(a) < weight(b); });
    return out;
  }();
  return *sorted[which == 0 ? 0 : which == 1 ? sorted.size() / 2 : sorted.size() - 1];
}

void Label(benchmark::State& state, const Case& c, int64_t candidates) {
  state.SetLabel(c.scene.family() + ", " + std::to_string(c.scene.resolved_v1().drivable_map_size()) + " polygons, " +
                 std::to_string(c.scene.resolved_v1().agents_size()) + " agents");
  state.counters["us/candidate"] = benchmark::Counter(
      static_cast<double>(state.iterations() * candidates) * 1e-6,
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_ScoreV1(benchmark::State& state) {
  const Case& c = CaseOf(static_cast<int>(state.range(0)));
  bool facts = state.range(2) != 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(1); ++i) {
      benchmark::DoNotOptimize(ScoreTrajectory(*c.v1, c.poses[i % c.poses.size()], facts));
    }
  }
  Label(state, c, state.range(1));
}
BENCHMARK(BM_ScoreV1)->ArgNames({"scene", "candidates", "facts"})->ArgsProduct({{0, 1, 2}, {1, 12, 64}, {0, 1}});

void BM_ScoreV2(benchmark::State& state) {
  const Case& c = CaseOf(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    for (const auto& poses : c.poses) benchmark::DoNotOptimize(ScoreTrajectoryV2(*c.v2, poses));
  }
  Label(state, c, static_cast<int64_t>(c.poses.size()));
}
BENCHMARK(BM_ScoreV2)->ArgName("scene")->DenseRange(0, 2);

void BM_Simulate(benchmark::State& state) {
  const Case& c = CaseOf(1);
  States states;
  for (auto _ : state) benchmark::DoNotOptimize(SimulateCandidate(*c.v1, c.poses[0], &states));
}
BENCHMARK(BM_Simulate);

void BM_Comfort(benchmark::State& state) {
  const Case& c = CaseOf(1);
  States states;
  SimulateCandidate(*c.v1, c.poses[0], &states);
  for (auto _ : state) benchmark::DoNotOptimize(ComfortV1(states));
}
BENCHMARK(BM_Comfort);

void BM_Prepare(benchmark::State& state) {
  const Case& c = CaseOf(static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(Prepare(c.scene));
}
BENCHMARK(BM_Prepare)->ArgName("scene")->DenseRange(0, 2);

}  // namespace
}  // namespace swerve::pdm

BENCHMARK_MAIN();
