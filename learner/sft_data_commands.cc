#include "learner/sft_data_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/progress.h"
#include "learner/sft_data.h"

namespace swerve {
namespace {

struct Options {
  std::vector<std::string> scenes;
  std::string out;
  uint64_t examples = 0;
  uint64_t seed = 0;
  std::string codec = "pose3_text", codebook;
};

std::string OneLine(const std::string& text) { return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\n", "\\n"}}); }

absl::Status DumpTexts(const Options& options) {
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const SceneStore> store, SceneStore::Open(options.scenes));
  SftOptions sft;
  SWERVE_ASSIGN_OR_RETURN(sft.codec, CreateCodec(options.codec, options.codebook));
  sft.seed = options.seed;
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SftData> data, SftData::Create(store, sft));
  const uint64_t n = options.examples > 0 ? options.examples : 5 * data->size();
  const bool json = absl::EndsWith(options.out, ".jsonl");
  std::string text;
  std::map<std::string, uint64_t> kinds;
  {
    Progress progress("writing examples", n, "examples");
    for (uint64_t i = 0; i < n; ++i, progress.Add(1)) {
      SWERVE_ASSIGN_OR_RETURN(const SftExample example, data->Example(i));
      ++kinds[example.kind];
      if (json) {
        const nlohmann::ordered_json line = {{"scene", example.scene_id},
                                             {"kind", example.kind},
                                             {"prompt", example.prompt_text},
                                             {"target", example.target_text}};
        text += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
      } else {
        text += OneLine(example.prompt_text) + "\n" + OneLine(example.target_text) + "\n";
      }
    }
  }
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(options.out, text));
  std::printf("%llu examples of %llu scenes in %s:", static_cast<unsigned long long>(n),
              static_cast<unsigned long long>(data->size()), options.out.c_str());
  for (const auto& [kind, count] : kinds) std::printf(" %s %llu", kind.c_str(), static_cast<unsigned long long>(count));
  std::printf("\n");
  return absl::OkStatus();
}

}  // namespace

void AddSftDataCommands(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "sft-texts",
      "Write the prompts and targets that `swerve sft` would learn from: to read them, or to train a tokenizer.\n"
      "A .jsonl file gets one object per example (scene, kind, prompt, target); any other file one text a line,\n"
      "prompt then target, line breaks escaped as \\n.");
  c->add_option("--scenes", options->scenes, "Directories of scenes (swerve scenes generate, import)")->required();
  c->add_option("--out", options->out, "File to write")->required();
  c->add_option("--examples", options->examples, "How many; default: five per scene");
  c->add_option("--codec", options->codec, "How answers are written: pose3_text, xy_text, xy_parenthesised, json_traj,\ncodebook, speed_curvature")->capture_default_str();
  c->add_option("--codebook", options->codebook, "Safetensors file of the codec codebook");
  c->add_option("--seed", options->seed, "Same seed, same texts")->capture_default_str();
  c->callback([options] {
    if (const absl::Status status = DumpTexts(*options); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
