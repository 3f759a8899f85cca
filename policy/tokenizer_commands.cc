#include "policy/tokenizer_commands.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "base/status.h"
#include "policy/tokenizer.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

absl::Status Tokenize(const std::string& model, bool encode) {
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer, Tokenizer::Load(model));
  std::string line;
  for (int n = 1; std::getline(std::cin, line); ++n) {
    if (encode) {
      std::cout << Json(tokenizer->Encode(line)).dump() << "\n";
      continue;
    }
    const Json ids = Json::parse(line, nullptr, false);
    bool good = ids.is_array();
    std::vector<int32_t> list;
    for (const Json& id : ids) {
      good = good && id.is_number_integer();
      if (!good) break;
      // What is no id of 32 bits is no id of the vocabulary either, and vanishes as those do.
      const int64_t value = id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX ? -1 : id.get<int64_t>();
      list.push_back(value < 0 || value > INT32_MAX ? -1 : static_cast<int32_t>(value));
    }
    if (!good) return absl::InvalidArgumentError(absl::StrCat("line ", n, ": wants a JSON array of token ids"));
    std::cout << Json(tokenizer->Decode(list)).dump() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenizerCommands(CLI::App& app) {
  auto model = std::make_shared<std::string>("models/tiny");
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Text to token ids and back, one text a line on standard input, JSON out");
  tokenizer->require_subcommand(1);
  for (bool encode : {true, false}) {
    CLI::App* c = tokenizer->add_subcommand(encode ? "encode" : "decode", encode ? "text -> [ids]" : "[ids] -> \"text\"");
    c->add_option("--model", *model, "directory with tokenizer.json")->capture_default_str();
    c->callback([model, encode] {
      if (absl::Status s = Tokenize(*model, encode); !s.ok()) FailWith(s);
    });
  }
}

}  // namespace swerve
