#include "policy/engines.h"

#include <CLI/CLI.hpp>

#include "base/status.h"
#include "policy/device_backend.h"

namespace swerve {

absl::StatusOr<std::unique_ptr<Engine>> CreateEngine(const EngineOptions& options) {
  if (options.engine != "local") return CreateRemoteEngine(options);
  if (!options.servers.urls.empty()) return absl::InvalidArgumentError("inference servers are named, but the engine is local; give --engine sglang or vllm");
#ifdef SWERVE_CUDA
  if (options.device != "cpu") {
    SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<EnginePlatform> platform, CreateCudaPlatform(options));
    return CreateEngineOn(std::move(platform), options);
  }
#endif
  return CreateLocalEngine(options);
}

void AddEngineFlags(CLI::App* command, EngineOptions* options) {
  command->add_option("--engine", options->engine, "What generates: local (here), or inference servers (docs/engines.md): sglang, vllm")
      ->capture_default_str()
      ->check(CLI::IsMember({"local", "sglang", "vllm"}));
  command->add_option("--engine-url", options->servers.urls, "http://host:port of an inference server; may be repeated");
  command->add_option("--engine-model", options->servers.model, "Name that the servers know the policy by; by default what they say");
  command->add_option("--engine-key-env", options->servers.api_key_env, "Environment variable with the servers' key");
  command->add_option("--engine-ca", options->servers.ca_file, "PEM file of the authority of https servers");
}

}  // namespace swerve
