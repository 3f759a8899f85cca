#include "scenes/generator/generator.h"

#include <algorithm>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "pdm/best_plan.h"
#include "pdm/resolve.h"
#include "pdm/score.h"

namespace swerve::generator {
namespace {

constexpr int kDraws = 200;
constexpr int kAhead = 64;  // scenes generated beyond the one being written

double Mean(const pdm::PreparedScene& prepared, const absl::StatusOr<std::vector<pdm::Pose2>>& poses) {
  return poses.ok() ? pdm::ScoreTrajectory(prepared, *poses, false).scores.pdms() : 0.0;
}

absl::StatusOr<Generated> Draw(const Family& family, uint64_t stream) {
  Random rng(stream);
  Draft draft;
  family.build(rng, &draft);
  Generated out;
  out.scene = Finish(draft, rng);
  SWERVE_RETURN_IF_ERROR(pdm::Resolve(&out.scene));
  pdm::BestPlanQuality quality;
  SWERVE_ASSIGN_OR_RETURN(std::vector<pdm::Pose2> best, pdm::BestPlan(out.scene, {.go_around = draft.go_around}, &quality));
  out.gt_pdms = quality.pdms;
  out.gt_robust = quality.robust;
  for (const pdm::Pose2& p : best) {
    v1::Pose* q = out.scene.add_gt();
    q->set_x(p.x), q->set_y(p.y), q->set_heading(p.heading);
  }
  return out;
}

// Work shared by the threads of GenerateAll.
struct Line {
  absl::Mutex mu;
  uint64_t next ABSL_GUARDED_BY(mu) = 0;   // to generate
  uint64_t taken ABSL_GUARDED_BY(mu) = 0;  // handed out
  bool taking ABSL_GUARDED_BY(mu) = false;
  absl::Status status ABSL_GUARDED_BY(mu);
  std::map<uint64_t, Generated> ready ABSL_GUARDED_BY(mu);
};

}  // namespace

absl::StatusOr<Generated> GenerateScene(const Family& family, uint64_t seed, uint64_t index) {
  for (int draw = 0; draw < kDraws; ++draw) {
    SWERVE_ASSIGN_OR_RETURN(Generated out, Draw(family, StreamSeed(seed, HashName(family.name), index, draw)));
    if (out.gt_pdms < kWorstGt || out.gt_robust < kWorstRobust) continue;
    out.rejected = draw;
    v1::Scene& scene = out.scene;
    scene.set_id(absl::StrFormat("gen_%s_%d_%06d", family.name, seed, index));
    scene.set_family(family.name);
    scene.set_recording(absl::StrFormat("gen_%s_%d", family.name, seed));
    scene.set_location(absl::StrFormat("generated_%d", seed));
    scene.set_label(v1::POSITIVE);
    scene.set_source("swerve scene generator");
    scene.set_license("CC0, generated");
    SWERVE_ASSIGN_OR_RETURN(auto prepared, pdm::Prepare(scene));
    out.naive_pdms = Mean(*prepared, pdm::NaivePlan(scene));
    out.straight_pdms = Mean(*prepared, pdm::NaivePlan(scene, /*straight=*/true));
    return out;
  }
  return absl::InternalError(absl::StrCat("family ", family.name, ", index ", index, ": none of ", kDraws,
                                          " draws has a plan that scores ", kWorstGt, " or more"));
}

absl::StatusOr<Mix> ParseMix(absl::string_view name) {
  if (name == "common") return Mix::kCommon;
  if (name == "rl") return Mix::kRl;
  if (name == "uniform") return Mix::kUniform;
  return absl::InvalidArgumentError(absl::StrCat("--mix ", name, ": known mixes are common, rl and uniform"));
}

const Family& FamilyAt(Mix mix, uint64_t seed, uint64_t index) {
  const absl::Span<const Family> families = Families();
  if (mix == Mix::kUniform) return families[index % families.size()];
  double rare = 0, common = 0;
  for (const Family& f : families) (f.rare ? rare : common) += f.share;
  auto weight = [&](const Family& f) {
    if (mix == Mix::kCommon) return f.share;
    return f.share * (f.rare ? 0.75 / rare : 0.25 / common);
  };
  double total = 0;
  for (const Family& f : families) total += weight(f);
  Random rng(StreamSeed(seed, HashName("mix"), index));
  double left = rng.Uniform() * total;
  for (const Family& f : families) {
    left -= weight(f);
    if (left < 0) return f;
  }
  return families.back();
}

absl::Status GenerateAll(const GenerateOptions& options, const std::function<absl::Status(Generated)>& take,
                         const std::function<bool()>& stop) {
  Line line;
  auto work = [&] {
    for (;;) {
      uint64_t index;
      {
        absl::MutexLock lock(&line.mu);
        auto may_go = [&]() ABSL_SHARED_LOCKS_REQUIRED(line.mu) {
          return !line.status.ok() || line.next >= options.count || line.next < line.taken + kAhead;
        };
        line.mu.Await(absl::Condition(&may_go));
        if (!line.status.ok() || line.next >= options.count) return;
        index = line.next++;
      }
      absl::StatusOr<Generated> made = absl::CancelledError("stopped");
      if (!stop || !stop()) {
        made = GenerateScene(options.family ? *options.family : FamilyAt(options.mix, options.seed, index), options.seed, index);
      }
      line.mu.Lock();
      if (made.ok()) {
        line.ready.emplace(index, *std::move(made));
      } else {
        line.status.Update(made.status());
      }
      // Whoever finds the next scene ready hands it on; one at a time keeps the order.
      while (!line.taking && line.status.ok() && !line.ready.empty() && line.ready.begin()->first == line.taken) {
        Generated one = std::move(line.ready.begin()->second);
        line.ready.erase(line.ready.begin());
        line.taking = true;
        line.mu.Unlock();
        const absl::Status status = take(std::move(one));
        line.mu.Lock();
        line.taking = false;
        ++line.taken;
        line.status.Update(status);
      }
      line.mu.Unlock();
    }
  };
  const int threads = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) pool.emplace_back(work);
  for (std::thread& t : pool) t.join();
  absl::MutexLock lock(&line.mu);
  return line.status;
}

}  // namespace swerve::generator
