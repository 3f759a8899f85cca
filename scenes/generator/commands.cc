#include "scenes/generator/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "base/exit_code.h"
#include "base/progress.h"
#include "scenes/generator/generator.h"
#include "scenes/store.h"

namespace swerve {
namespace {

using generator::Family;
using generator::Generated;

struct Arguments {
  std::string family = "all", mix, out;
  uint64_t count = 0, seed = 0;
  int threads = 0;
  bool replace = false;
};

struct Tally {
  int scenes = 0, rejected = 0, naive_fails = 0, straight_fails = 0;
  double gt = 0;
};

void Print(const std::map<std::string, Tally>& tallies) {
  printf("%-26s %7s %9s %8s %12s %15s\n", "family", "scenes", "rejected", "GT PDMS", "naive fails", "straight fails");
  Tally all;
  auto row = [](const char* name, const Tally& t) {
    printf("%-26s %7d %9d %8.3f %11.0f%% %14.0f%%\n", name, t.scenes, t.rejected, t.gt / t.scenes,
           100.0 * t.naive_fails / t.scenes, 100.0 * t.straight_fails / t.scenes);
  };
  for (const auto& [name, t] : tallies) {
    row(name.c_str(), t);
    all.scenes += t.scenes, all.rejected += t.rejected, all.gt += t.gt;
    all.naive_fails += t.naive_fails, all.straight_fails += t.straight_fails;
  }
  if (all.scenes > 0) row("all", all);
  printf("naive: on along the lane at constant speed; straight: constant speed and heading; fails: PDMS 0\n");
}

absl::Status Generate(const Arguments& args) {
  generator::GenerateOptions options{.count = args.count, .seed = args.seed, .threads = args.threads};
  std::string mix = args.mix;
  if (args.family == "mix" && mix.empty()) mix = "common";
  if (args.family != "all" && args.family != "mix") {
    options.family = generator::FindFamily(args.family.c_str());
    if (options.family == nullptr) {
      std::string known;
      for (const Family& f : generator::Families()) absl::StrAppend(&known, known.empty() ? "" : ", ", f.name);
      return absl::InvalidArgumentError(absl::StrCat("--family ", args.family, ": unknown; known are all, mix, ", known));
    }
    if (!mix.empty()) return absl::InvalidArgumentError("--mix makes sense only with --family all or mix");
  }
  if (!mix.empty()) {
    SWERVE_ASSIGN_OR_RETURN(options.mix, generator::ParseMix(mix));
  }
  SWERVE_ASSIGN_OR_RETURN(auto writer, SceneWriter::Create(args.out, 256, args.replace));
  std::map<std::string, Tally> tallies;
  {
    Progress progress("generate", args.count, "scenes");
    SWERVE_RETURN_IF_ERROR(generator::GenerateAll(options, [&](Generated one) {
      Tally& t = tallies[one.scene.family()];
      ++t.scenes, t.rejected += one.rejected, t.gt += one.gt_pdms;
      t.naive_fails += one.naive_pdms <= 0, t.straight_fails += one.straight_pdms <= 0;
      progress.Add(1);
      return writer->Add(one.scene);
    }));
  }
  SWERVE_RETURN_IF_ERROR(writer->Finish());
  Print(tallies);
  return absl::OkStatus();
}

std::string FamilyHelp() {
  std::string text = "Families (* rare: just going on mostly fails):\n";
  for (const Family& f : generator::Families()) absl::StrAppend(&text, absl::StrFormat("  %c %-26s %s\n", f.rare ? '*' : ' ', f.name, f.about));
  absl::StrAppend(&text, "Mixes: common (as recordings are, 7/8 everyday driving), rl (3/4 rare), uniform.\n"
                         "The same seed gives the same bytes. Train and test sets need different seeds.");
  return text;
}

}  // namespace

void AddGeneratorCommands(CLI::App& app) {
  const auto found = app.get_subcommands([](const CLI::App* sub) { return sub->get_name() == "scenes"; });
  CLI::App* scenes = found.empty() ? nullptr : found.front();
  if (scenes == nullptr) {
    scenes = app.add_subcommand("scenes", "Scene data sets: generate, import, look at");
    scenes->require_subcommand(1);
  }
  CLI::App* generate = scenes->add_subcommand("generate", "Invent scenes of chosen families, with ground truth");
  auto args = std::make_shared<Arguments>();
  generate->add_option("--family", args->family, "family name, all (every family in turn) or mix (see --mix)")->capture_default_str();
  generate->add_option("--mix", args->mix, "common, rl or uniform");
  generate->add_option("--count", args->count, "how many scenes")->required()->check(CLI::PositiveNumber);
  generate->add_option("--seed", args->seed, "seed of the whole set")->capture_default_str();
  generate->add_option("--out", args->out, "directory of the new data set")->required();
  generate->add_option("--threads", args->threads, "0: all cores")->capture_default_str();
  generate->add_flag("--replace", args->replace, "overwrite a finished data set in --out");
  generate->footer(FamilyHelp());
  generate->callback([args] {
    if (absl::Status status = Generate(*args); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
