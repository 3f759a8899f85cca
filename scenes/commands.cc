#include "scenes/commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/progress.h"
#include "pdm/score.h"
#include "scenes/draw.h"
#include "scenes/prompt.h"
#include "scenes/raster.h"
#include "scenes/resolve_scenes.h"
#include "scenes/scene_json.h"
#include "scenes/store.h"
#include "scenes/traffic_log/importer.h"
#include "scenes/validate.h"

namespace swerve {
namespace {

struct Arguments {
  std::vector<std::string> dirs, ids, files, only, except;
  std::string dir, id, out, what = "scene", held_out;
  int size = 0;
  ImportOptions import;
  ResolveOptions resolve;
};

absl::Status List(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open(a.dirs));
  for (const SceneEntry& e : store->entries())
    std::printf("%-40s %-24s %-20s %s\n", e.id.c_str(), e.family.c_str(), e.location.c_str(),
                v1::SampleLabel_Name(e.label).c_str());
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const v1::Scene>> One(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open({a.dir}));
  if (a.id.empty() && !store->ids().empty()) return store->Get(store->ids().front());
  return store->Get(a.id);
}

absl::Status Show(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto scene, One(a));
  std::printf("scene      %s\nfamily     %s\nlocation   %s\nrecording  %s\nlabel      %s\nsource     %s\nlicense    %s\n",
              scene->id().c_str(), scene->family().c_str(), scene->location().c_str(), scene->recording().c_str(),
              v1::SampleLabel_Name(scene->label()).c_str(), scene->source().c_str(), scene->license().c_str());
  std::printf("contents   %d tracks, %d lanes, %d polygons, %d candidates, resolved v1 %s, %.1f kB\n",
              scene->tracks_size(), scene->map().lanes_size(), scene->map().polygons_size(), scene->candidates_size(),
              scene->has_resolved_v1() ? "yes" : "no", scene->ByteSizeLong() / 1e3);
  for (const SceneObject& o : CriticalObjects(*scene))
    std::printf("%-10s %s %s, %.1f m ahead, %.1f m %s, %.1f m/s %s\n", o.role.c_str(), TypeName(o.type).c_str(),
                o.token.c_str(), o.distance, std::abs(o.lateral), o.lateral >= 0 ? "left" : "right", o.speed,
                o.motion.c_str());
  std::printf("prompt     %s\nresponse   %s\n", BasePromptText(*scene).c_str(), GtResponseText(*scene).c_str());
  for (const QuestionAnswer& qa : SceneQuestions(*scene))
    std::printf("question   %s -> %s\n", qa.question.c_str(), qa.answer.c_str());
  return absl::OkStatus();
}

struct FamilyStats {
  int scenes = 0, scored = 0, straight_fails = 0;
  double gt = 0, speed = 0;
};

// PDMS of poses, or a negative number when the scene cannot be scored.
double PdmsOf(const pdm::PreparedScene& scene, const std::vector<pdm::Pose2>& poses) {
  return pdm::ScoreTrajectory(scene, poses, false).scores.pdms();
}

absl::Status Stats(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open(a.dirs));
  std::map<std::string, FamilyStats> families;
  std::map<std::string, int> locations;
  int damaged = 0;
  {
    Progress progress("stats", store->ids().size(), "scenes");
    for (const SceneEntry& e : store->entries()) {
      progress.Add(1);
      auto scene = store->Get(e.id);
      if (!scene.ok()) {
        ++damaged;
        std::fprintf(stderr, "%s\n", std::string(scene.status().message()).c_str());
        continue;
      }
      FamilyStats& f = families[e.family];
      ++f.scenes;
      ++locations[e.location];
      f.speed += (*scene)->ego().vx();
      if (!(*scene)->has_resolved_v1()) continue;
      auto prepared = pdm::Prepare(**scene);
      if (!prepared.ok() || (*scene)->gt_size() != 8) continue;
      std::vector<pdm::Pose2> gt, straight;
      for (const v1::Pose& p : (*scene)->gt()) gt.push_back({p.x(), p.y(), p.heading()});
      for (int i = 1; i <= 8; ++i) straight.push_back({0.5 * i * (*scene)->ego().vx(), 0, 0});
      ++f.scored;
      f.gt += PdmsOf(**prepared, gt);
      f.straight_fails += PdmsOf(**prepared, straight) == 0;
    }
  }
  std::printf("%-26s %7s %10s %9s %15s\n", "family", "scenes", "mean m/s", "GT PDMS", "straight fails");
  FamilyStats all;
  auto row = [](const std::string& name, const FamilyStats& f) {
    std::printf("%-26s %7d %10.1f", name.c_str(), f.scenes, f.speed / std::max(1, f.scenes));
    if (f.scored > 0)
      std::printf(" %9.3f %14.0f%%\n", f.gt / f.scored, 100.0 * f.straight_fails / f.scored);
    else
      std::printf(" %9s %15s\n", "-", "-");
  };
  for (const auto& [name, f] : families) {
    row(name, f);
    all.scenes += f.scenes, all.scored += f.scored, all.straight_fails += f.straight_fails, all.gt += f.gt, all.speed += f.speed;
  }
  row("all", all);
  std::printf("straight fails: PDMS 0 for going on straight at constant speed\nlocations: ");
  for (const auto& [name, n] : locations) std::printf("%s %d  ", name.c_str(), n);
  std::printf("\n");
  if (damaged > 0) return absl::DataLossError(absl::StrCat(damaged, " scenes are damaged"));
  return absl::OkStatus();
}

absl::Status Validate(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open(a.dirs));
  int bad = 0;
  for (const std::string& id : store->ids()) {
    auto scene = store->Get(id);
    std::vector<std::string> problems;
    if (scene.ok())
      problems = ValidateScene(**scene);
    else
      problems = {std::string(scene.status().message())};
    bad += !problems.empty();
    for (const std::string& p : problems) std::printf("%s: %s\n", id.c_str(), p.c_str());
  }
  if (bad > 0)
    return absl::DataLossError(absl::StrCat(bad, " of ", store->ids().size(), " scenes have problems, named above"));
  std::printf("%zu scenes, no problems\n", store->ids().size());
  return absl::OkStatus();
}

// A binary PPM; every image viewer reads it and no library is needed to write it.
std::string Ppm(const Image& image) {
  return absl::StrFormat("P6\n%d %d\n255\n", image.width, image.height) + std::string(image.rgb.begin(), image.rgb.end());
}

absl::Status Render(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto scene, One(a));
  std::string bytes;
  if (absl::EndsWith(a.out, ".ppm")) {
    bytes = Ppm(Rasterise(*scene, a.size > 0 ? a.size : kRasterSize));
  } else if (absl::EndsWith(a.out, ".svg") || absl::EndsWith(a.out, ".png")) {
    DrawOptions options;
    if (a.size > 0) {
      options.height = a.size;
      options.width = a.size * 13 / 16;
    }
    std::vector<DrawTrajectory> plans = StoredTrajectories(*scene);
    SWERVE_ASSIGN_OR_RETURN(bytes, absl::EndsWith(a.out, ".svg") ? DrawSceneSvg(*scene, plans, options)
                                                                 : DrawScenePng(*scene, plans, options));
  } else {
    return absl::InvalidArgumentError(absl::StrCat("--out ", a.out, ": end it in .svg, .png or .ppm (the policy's picture)"));
  }
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(a.out, bytes));
  std::printf("%s: scene %s\n", a.out.c_str(), scene->id().c_str());
  return absl::OkStatus();
}

absl::Status Export(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open({a.dir}));
  std::vector<v1::Scene> scenes;
  for (const std::string& id : a.ids.empty() ? store->ids() : a.ids) {
    SWERVE_ASSIGN_OR_RETURN(auto scene, store->Get(id));
    scenes.push_back(*scene);
  }
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(a.out, WriteSceneFile(scenes)));
  std::printf("%s: %zu scenes\n", a.out.c_str(), scenes.size());
  return absl::OkStatus();
}

absl::Status Split(const Arguments& a) {
  std::vector<std::string> rule = absl::StrSplit(a.held_out, absl::MaxSplits('=', 1));
  if (rule.size() != 2 || (rule[0] != "location" && rule[0] != "recording"))
    return absl::InvalidArgumentError(
        absl::StrCat("--held-out ", a.held_out, ": write location=NAME[,NAME…] or recording=NAME[,NAME…]"));
  std::map<std::string, int> held;
  for (absl::string_view name : absl::StrSplit(rule[1], ',', absl::SkipEmpty())) held[std::string(name)] = 0;
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open({a.dir}));
  SWERVE_ASSIGN_OR_RETURN(auto train, SceneWriter::Create(a.out + "/train"));
  SWERVE_ASSIGN_OR_RETURN(auto test, SceneWriter::Create(a.out + "/held_out"));
  for (const std::string& id : store->ids()) {
    SWERVE_ASSIGN_OR_RETURN(auto scene, store->Get(id));
    auto it = held.find(rule[0] == "location" ? scene->location() : scene->recording());
    if (it != held.end()) ++it->second;
    SWERVE_RETURN_IF_ERROR((it != held.end() ? test : train)->Add(*scene));
  }
  for (const auto& [name, n] : held)
    if (n == 0) return absl::InvalidArgumentError(absl::StrCat("no scene has ", rule[0], " ", name, " (see `swerve scenes ls`)"));
  SWERVE_RETURN_IF_ERROR(train->Finish());
  SWERVE_RETURN_IF_ERROR(test->Finish());
  std::printf("%s/train: %d scenes\n%s/held_out: %d scenes\n", a.out.c_str(), train->size(), a.out.c_str(), test->size());
  return absl::OkStatus();
}

absl::Status Import(const Arguments& a) {
  SWERVE_ASSIGN_OR_RETURN(ImportCounts c, ImportTrafficLogs(a.files, a.out, a.import));
  std::printf("%s: %d scenes from %d of %zu files, %d windows looked at, mean GT PDMS %.3f\n", a.out.c_str(), c.scenes,
              c.files, a.files.size(), c.windows, c.gt_pdms_sum / c.scenes);
  for (const auto& [name, n] : c.scenes_by_location) std::printf("  %-24s %6d scenes\n", name.c_str(), n);
  for (const auto& [reason, n] : c.rejected) std::printf("  rejected: %-38s %6d windows\n", reason.c_str(), n);
  for (const std::string& b : c.broken) std::fprintf(stderr, "skipped: %s\n", b.c_str());
  return absl::OkStatus();
}

absl::Status Resolve(const Arguments& a) {
  size_t failed = 0;
  for (const std::string& path : a.dirs) {
    SWERVE_ASSIGN_OR_RETURN(ResolveCounts c, ResolveStored(path, a.resolve));
    std::printf("%s: %d scenes, %d resolved, %d had it already, %zu cannot be\n", path.c_str(), c.scenes, c.resolved,
                c.kept, c.failed.size());
    for (const std::string& line : c.failed) std::fprintf(stderr, "%s\n", line.c_str());
    failed += c.failed.size();
  }
  if (failed > 0) return absl::InvalidArgumentError(absl::StrCat(failed, " scenes cannot be resolved, named above; they are unchanged"));
  return absl::OkStatus();
}

void AddResolveCommand(CLI::App* scenes, const std::shared_ptr<Arguments>& a) {
  CLI::App* resolve = scenes->add_subcommand("resolve", "Fill what the scorer reads of raw scenes, in place: route, reference plan, agents at 10 Hz");
  resolve->add_option("PATHS", a->dirs, "data sets, or JSON scene files (.gz)")->required();
  resolve->add_flag("--v2", a->resolve.v2, "fill resolved.v2 too (EPDMS)");
  resolve->add_flag("--again", a->resolve.again, "also scenes that are resolved already");
  resolve->add_option("--threads", a->resolve.threads, "0: all cores")->capture_default_str()->check(CLI::NonNegativeNumber);
  resolve->footer("A data set or file is replaced in one step when all its scenes are done, and stays as it was when that fails.\n"
                  "A scene that cannot be resolved is named and kept unchanged; exit code 1.");
  resolve->callback([a] {
    if (absl::Status s = Resolve(*a); !s.ok()) FailWith(s);
  });
}

void AddLookCommands(CLI::App* scenes, const std::shared_ptr<Arguments>& a) {
  auto run = [a](absl::Status (*f)(const Arguments&)) {
    return [a, f] {
      if (absl::Status s = f(*a); !s.ok()) FailWith(s);
    };
  };
  CLI::App* ls = scenes->add_subcommand("ls", "One line per scene: id, family, location, label");
  ls->add_option("DIRS", a->dirs, "data sets")->required();
  ls->callback(run(List));
  CLI::App* show = scenes->add_subcommand("show", "Everything about one scene: road users, prompt, GT response, questions");
  show->add_option("DIR", a->dir, "data set")->required();
  show->add_option("ID", a->id, "scene id; the first scene when left out");
  show->callback(run(Show));
  CLI::App* stats = scenes->add_subcommand("stats", "Table per family: counts, GT score, how often going on straight fails");
  stats->add_option("DIRS", a->dirs, "data sets")->required();
  stats->callback(run(Stats));
  CLI::App* validate = scenes->add_subcommand("validate", "Check every field of every scene; names each problem");
  validate->add_option("DIRS", a->dirs, "data sets")->required();
  validate->callback(run(Validate));
  CLI::App* render = scenes->add_subcommand("render", "Draw a scene with GT, reference plan and stored candidates");
  render->add_option("DIR", a->dir, "data set")->required();
  render->add_option("ID", a->id, "scene id; the first scene when left out");
  render->add_option("--out", a->out, "FILE.svg or FILE.png; FILE.ppm draws what the policy sees")->required();
  render->add_option("--size", a->size, "pixels; default 640 high, for .ppm 112")->check(CLI::Range(8, 4096));
  render->callback(run(Render));
  CLI::App* exp = scenes->add_subcommand("export", "Write scenes as JSON, the format of `swerve score --scenes`");
  exp->add_option("DIR", a->dir, "data set")->required();
  exp->add_option("IDS", a->ids, "scene ids; all when left out");
  exp->add_option("--out", a->out, "FILE.json")->required();
  exp->callback(run(Export));
  CLI::App* split = scenes->add_subcommand("split", "Two data sets by place or recording, never by window: OUT/train and OUT/held_out");
  split->add_option("DIR", a->dir, "data set")->required();
  split->add_option("--held-out", a->held_out, "location=NAME[,NAME] or recording=NAME[,NAME]")->required();
  split->add_option("--out", a->out, "new directory")->required();
  split->callback(run(Split));
}

void AddImportCommand(CLI::App* scenes, const std::shared_ptr<Arguments>& a) {
  CLI::App* import = scenes->add_subcommand("import", "Turn other data into scenes");
  import->require_subcommand(1);
  CLI::App* log = import->add_subcommand("traffic-log", "Recordings of real traffic (neutral-1 JSON) into windows of 1.5 s history and 5 s future");
  log->add_option("FILES", a->files, "recordings; a broken one is named and skipped")->required();
  log->add_option("--out", a->out, "directory of the new data set")->required();
  log->add_option("--only-location", a->import.only_locations, "take only these: us101, lankershim, womd, a nuScenes map");
  log->add_option("--not-location", a->import.not_locations, "leave these out (hold them out for evaluation)");
  log->add_option("--stride", a->import.stride_s, "s between windows of a marked ego")->capture_default_str()->check(CLI::Range(0.1, 60.0));
  log->add_option("--any-stride", a->import.any_stride_s, "s between windows of a vehicle where none is marked")->capture_default_str()->check(CLI::Range(0.1, 60.0));
  log->add_option("--max-per-recording", a->import.max_per_recording, "windows kept of one recording")->capture_default_str()->check(CLI::PositiveNumber);
  log->add_option("--waiting-share", a->import.waiting_share, "share kept of windows in which the ego moves less than 2 m")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  log->footer("A window is rejected when its recorded driver collides or leaves the road; the counts by reason are printed.\n"
              "Example: swerve scenes import traffic-log logs/*.json --not-location lankershim --out data/real_train");
  log->callback([a] {
    if (absl::Status s = Import(*a); !s.ok()) FailWith(s);
  });
}

}  // namespace

void AddScenesCommands(CLI::App& app) {
  const auto found = app.get_subcommands([](const CLI::App* sub) { return sub->get_name() == "scenes"; });
  CLI::App* scenes = found.empty() ? app.add_subcommand("scenes", "Scene data sets: generate, import, look at") : found.front();
  scenes->require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  AddLookCommands(scenes, arguments);
  AddImportCommand(scenes, arguments);
  AddResolveCommand(scenes, arguments);
}

}  // namespace swerve
