#include "policy/serve_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/config.h"
#include "base/exit_code.h"
#include "base/role_main.h"
#include "base/stop.h"
#include "policy/engines.h"
#include "policy/openai_server.h"

namespace swerve {
namespace {

struct Options {
  EngineOptions engine;
  HttpServer::Options http;
  OpenAiOptions openai;
  double deadline_seconds = 600;
  int max_body_mb = 32;
  bool insecure = false;
};

absl::Status Serve(Options o) {
  if (!IsLoopback(o.http.listen) && !o.insecure) {
    return absl::InvalidArgumentError(absl::StrCat("--listen ", o.http.listen, " is reached by other machines, and this server has neither TLS nor keys: listen on "
                                                   "127.0.0.1 with a proxy in front, or, where the network itself keeps strangers out, give --insecure"));
  }
  Stop::InstallSignalHandlers();
  o.openai.deadline = o.engine.servers.deadline = absl::Seconds(o.deadline_seconds);
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, CreateEngine(o.engine));
  if (o.openai.model.empty()) o.openai.model = std::filesystem::path(o.engine.model_dir + "/").lexically_normal().parent_path().filename();
  o.http.max_body_bytes = int64_t{o.max_body_mb} << 20;
  o.http.max_bodies_bytes = 4 * o.http.max_body_bytes;
  OpenAiServer openai(engine.get(), o.openai);
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> http, HttpServer::Start(o.http, [&openai](const HttpCall& call) { return openai.Answer(call); }));
  const std::string host = o.http.listen == "0.0.0.0" ? "127.0.0.1" : o.http.listen;
  std::printf("%s\n", nlohmann::json{{"base_url", absl::StrCat("http://", host, ":", http->port(), "/v1")}, {"model", o.openai.model}, {"pid", getpid()}}.dump().c_str());
  std::fflush(stdout);
  Stop::Wait();
  http.reset();  // answers what it is at
  return absl::OkStatus();
}

}  // namespace

void AddServePolicyCommand(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->engine.model_dir = "models/tiny";
  CLI::App* policy = ServeGroup(app)->add_subcommand("policy", "OpenAI-compatible chat with a policy: POST /v1/chat/completions, GET /v1/models, /health. Prints its address as one line\n"
                                                   "of JSON and serves until SIGTERM or Ctrl-C. For example:\n"
                                                   "  swerve serve policy --model models/tiny --port 8200\n"
                                                   "  curl http://127.0.0.1:8200/v1/chat/completions -H 'Content-Type: application/json' \\\n"
                                                   "    -d '{\"model\": \"tiny\", \"messages\": [{\"role\": \"user\", \"content\": \"what is ahead?\"}]}'\n"
                                                   "Pictures are data: URLs before the text of the last message (docs/serving.md).");
  policy->add_option("--model", o->engine.model_dir, "Hugging Face directory")->capture_default_str();
  policy->add_option("--name", o->openai.model, "name that clients ask for; by default the directory's");
  policy->add_option("--listen", o->http.listen, "address; outside 127.* it needs --insecure")->capture_default_str();
  policy->add_option("--port", o->http.port, "0: any free one")->capture_default_str()->check(CLI::Range(0, 65535));
  policy->add_option("--threads", o->engine.threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  policy->add_option("--max-batch", o->engine.max_batch, "sequences decoded together at most")->capture_default_str()->check(CLI::Range(1, 4096));
  policy->add_option("--device", o->engine.device, "cpu or cuda:N")->capture_default_str();
  policy->add_option("--dtype", o->engine.dtype, "of the matrices: float32, or bfloat16 (half the memory, and faster)")->capture_default_str();
  policy->add_option("--cache-mb", o->engine.cache_mb, "MiB of keys and values; requests wait for room")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  policy->add_option("--max-tokens", o->openai.default_max_tokens, "of a request that says none")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  policy->add_option("--deadline", o->deadline_seconds, "seconds for one request, waiting included")->capture_default_str()->check(CLI::PositiveNumber);
  policy->add_option("--connections", o->http.threads, "HTTP connections answered at once; more wait")->capture_default_str()->check(CLI::Range(1, 1024));
  policy->add_option("--max-queue", o->openai.max_queue, "requests that may wait for the engine; beyond it 429")->capture_default_str()->check(CLI::Range(1, 1024));
  policy->add_option("--max-body-mb", o->max_body_mb, "largest request, its pictures in base64 included; beyond it 413")->capture_default_str()->check(CLI::Range(1, 1024));
  AddEngineFlags(policy, &o->engine);
  policy->add_flag("--insecure", o->insecure, "let other machines reach it, without TLS or keys");
  policy->callback([o] {
    if (absl::Status s = Serve(*o); !s.ok()) FailWith(s);
  });
}

}  // namespace swerve
