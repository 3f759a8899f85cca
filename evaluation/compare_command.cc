// `swerve teachers compare`.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "evaluation/commands.h"
#include "evaluation/teacher_comparison.h"
#include "policy/engines.h"
#include "reward_service/target_cache.h"
#include "teacher_gateway/teacher_set.h"

namespace swerve {
namespace {

struct Options {
  std::string a, b, teachers_file, out;
  std::vector<std::string> scenes;
  EngineOptions engine;
  ComparisonOptions comparison;
};

// Scores in this process.
class LocalReward final : public RewardClient {
 public:
  explicit LocalReward(const SceneStore& store)
      : targets_([&store](const std::string& id) { return store.Get(id); }, size_t{256} << 20) {}
  absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const v1::ScoreGroupRequest& request) override {
    SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const RewardTarget> target, targets_.Get(request.scene_id()));
    return swerve::ScoreGroup(*target, request, UnitWeights());
  }

 private:
  TargetCache targets_;
};

// One teacher of the file, or an embedded one, by itself.
class OneTeacher final : public TeacherClient {
 public:
  static absl::StatusOr<std::unique_ptr<OneTeacher>> Make(v1::TeacherSpec spec, const std::string& file,
                                                          const SceneStore& store) {
    spec.set_weight(1);
    spec.set_ask_correct(false);
    spec.clear_fallback();
    spec.clear_draining();
    spec.clear_shadow();
    v1::TeachersFile alone;
    *alone.add_teachers() = std::move(spec);
    SWERVE_ASSIGN_OR_RETURN(const TeachersSource source, TeachersSource::Of(alone, file));
    TeacherParts parts;
    parts.http = std::make_shared<CurlHttp>();
    SWERVE_ASSIGN_OR_RETURN(auto set, TeacherSet::Build(source, parts, nullptr, 1));
    return std::unique_ptr<OneTeacher>(new OneTeacher(std::move(set), store));
  }
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) override {
    SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const v1::Scene> scene, store_.Get(request.scene_id()));
    return set_->Diagnose(request, *scene, absl::InfiniteFuture());
  }

 private:
  OneTeacher(std::shared_ptr<const TeacherSet> set, const SceneStore& store) : set_(std::move(set)), store_(store) {}
  const std::shared_ptr<const TeacherSet> set_;
  const SceneStore& store_;
};

absl::StatusOr<v1::TeacherSpec> SpecOf(const std::string& name, const v1::TeachersFile& file, const std::string& path) {
  for (const v1::TeacherSpec& spec : file.teachers()) {
    if (spec.name() == name) return spec;
  }
  for (const char* kind : {"oracle", "rule", "ground_truth", "none"}) {
    if (name != kind) continue;
    v1::TeacherSpec spec;
    spec.set_name(name);
    spec.set_kind(kind);
    return spec;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name, " is none of the embedded teachers (oracle, rule, ground_truth, none)",
      path.empty() ? "; give --teachers FILE, for example a run's teachers.yaml" : absl::StrCat(" and not in ", path)));
}

absl::Status Compare(const Options& o) {
  if (o.a == o.b) return absl::InvalidArgumentError("the two teachers are the same");
  v1::TeachersFile file;
  if (!o.teachers_file.empty()) {
    SWERVE_ASSIGN_OR_RETURN(const std::string yaml, ReadFile(o.teachers_file));
    SWERVE_ASSIGN_OR_RETURN(const TeachersSource source, TeachersSource::Parse(yaml, o.teachers_file));
    file = source.file();
  }
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SceneStore> store, SceneStore::Open(o.scenes));
  std::vector<std::unique_ptr<OneTeacher>> clients;
  std::array<ComparedTeacher, 2> teachers;
  for (size_t arm = 0; arm < 2; ++arm) {
    const std::string& name = arm == 0 ? o.a : o.b;
    SWERVE_ASSIGN_OR_RETURN(v1::TeacherSpec spec, SpecOf(name, file, o.teachers_file));
    SWERVE_ASSIGN_OR_RETURN(clients.emplace_back(), OneTeacher::Make(std::move(spec), o.teachers_file, *store));
    teachers[arm] = {name, clients.back().get()};
  }
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, CreateEngine(o.engine));
  LocalReward reward(*store);
  SWERVE_ASSIGN_OR_RETURN(const Comparison comparison, CompareTeachers(*engine, *store, reward, teachers, o.comparison));
  if (!o.out.empty()) SWERVE_RETURN_IF_ERROR(WriteFileAtomically(o.out, ComparisonJson(comparison)));
  std::fputs(ComparisonTable(comparison).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddCompareCommand(CLI::App& teachers) {
  auto o = std::make_shared<Options>();
  o->engine.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  o->engine.max_batch = 128;
  CLI::App* c = teachers.add_subcommand(
      "compare",
      "Replays the same failures through two teachers: the policy answers each scene, every response below the threshold\n"
      "goes to both teachers, and the policy answers again under each report, with the same seeds. Prints what became of\n"
      "it, with 95 % intervals over scenes, and the difference. Each teacher stands alone: no fallback, nothing\n"
      "remembered; where it gives no report, nothing is gained (ΔPDMS 0). Needs no running training.\n"
      "  swerve teachers compare oracle rule --scenes scenes/held_out --policy models/tiny --limit 50\n"
      "  swerve teachers compare vlm oracle --teachers runs/latest/teachers.yaml --scenes S --policy P --out vlm.json\n"
      "Reading it: a teacher helps by as much as \"ΔPDMS per failure\" says; it is better than the other where the\n"
      "interval of the difference leaves out 0. \"reports that hold GT\" and \"refinements that are GT\" warn of copying.");
  c->add_option("a", o->a, "A teacher: a name in --teachers, or oracle, rule, ground_truth, none")->required();
  c->add_option("b", o->b, "The other")->required();
  c->add_option("--scenes", o->scenes, "Directories of scenes")->required();
  c->add_option("--policy", o->engine.model_dir, "Hugging Face directory of the policy")->required();
  c->add_option("--codec", o->engine.codec, "How the policy writes a trajectory (policy.codec)")->capture_default_str();
  c->add_option("--codebook", o->engine.codebook, "Safetensors file of the codec codebook");
  c->add_option("--teachers", o->teachers_file, "Teachers file that the names are looked up in (docs/teachers.md)");
  c->add_option("--limit", o->comparison.limit, "That many scenes, drawn by seed; 0: all")->capture_default_str();
  c->add_option("--seed", o->comparison.seed, "Seed of answers, scenes and intervals")->capture_default_str();
  c->add_option("--samples", o->comparison.samples, "Responses per scene")->capture_default_str();
  c->add_option("--temperature", o->comparison.temperature, "Of the responses")->capture_default_str();
  c->add_option("--refine-temperature", o->comparison.refine_temperature, "Of the refinements")->capture_default_str();
  c->add_option("--threshold", o->comparison.success_threshold, "s: a PDMS below it is a failure")->capture_default_str();
  c->add_option("--max-new-tokens", o->comparison.max_new_tokens, "Tokens per answer")->capture_default_str();
  c->add_option("--out", o->out, "Write the figures to this file as JSON");
  c->add_option("--threads", o->engine.threads, "Compute threads")->capture_default_str();
  c->add_option("--device", o->engine.device, "cpu or cuda:N")->capture_default_str();
  AddEngineFlags(c, &o->engine);
  c->callback([o] {
    if (const absl::Status status = Compare(*o); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
