// Averages and their confidence intervals (evaluation/eval.h).
#include <algorithm>
#include <vector>

#include "base/random.h"
#include "evaluation/eval.h"

namespace swerve {
namespace {

constexpr int kResamples = 2000;

// 95 % percentile bootstrap of the mean.
std::array<double, 2> MeanInterval(const std::vector<double>& values, uint64_t seed) {
  if (values.empty()) return {0, 0};
  Random random(StreamSeed(seed, HashName("bootstrap")));
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[random.Below(values.size())];
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return {means[kResamples * 25 / 1000], means[kResamples * 975 / 1000 - 1]};
}

}  // namespace

EvalSummary Summarise(absl::Span<const SceneResult> scenes, uint64_t seed) {
  EvalSummary s;
  s.scenes = static_cast<int>(scenes.size());
  if (scenes.empty()) return s;
  std::vector<double> pdms;
  for (const SceneResult& scene : scenes) {
    pdms.push_back(scene.greedy.pdms());
    s.pdms += scene.greedy.pdms();
    s.nc += scene.greedy.nc();
    s.dac += scene.greedy.dac();
    s.ttc += scene.greedy.ttc();
    s.comfort += scene.greedy.comfort();
    s.ep += scene.greedy.ep();
    s.format_ok += scene.format_ok;
    s.planning_accuracy += scene.planning_ok;
    s.total_failure_ratio += scene.total_failure;
  }
  for (double* sum :
       {&s.pdms, &s.nc, &s.dac, &s.ttc, &s.comfort, &s.ep, &s.format_ok, &s.planning_accuracy, &s.total_failure_ratio}) {
    *sum /= s.scenes;
  }
  s.pdms_ci95 = MeanInterval(pdms, seed);
  return s;
}

EvalResult SummariseByFamily(absl::Span<const SceneResult> scenes, uint64_t seed) {
  std::map<std::string, std::vector<SceneResult>> by_family;
  for (const SceneResult& scene : scenes) by_family[scene.family].push_back(scene);
  EvalResult result;
  result.overall = Summarise(scenes, seed);
  for (const auto& [family, members] : by_family) result.families[family] = Summarise(members, seed);
  return result;
}

std::vector<std::string> ChooseScenes(const SceneStore& store, int max_scenes, uint64_t seed) {
  std::vector<std::string> ids = store.ids();
  if (max_scenes <= 0 || static_cast<size_t>(max_scenes) >= ids.size()) return ids;
  std::vector<uint64_t> rank;
  for (const std::string& id : ids) rank.push_back(StreamSeed(seed, HashName("eval scenes"), HashName(id)));
  std::vector<uint64_t> sorted = rank;
  std::nth_element(sorted.begin(), sorted.begin() + max_scenes, sorted.end());
  std::vector<std::string> chosen;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (rank[i] < sorted[max_scenes]) chosen.push_back(ids[i]);
  }
  return chosen;
}

}  // namespace swerve
