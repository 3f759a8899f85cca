#include "policy/remote_engine.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "absl/base/call_once.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/blocking_counter.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/image_file.h"
#include "policy/server_answer.h"

namespace swerve {
namespace {

constexpr size_t kMostThreads = 512;
constexpr absl::Duration kSlice = absl::Milliseconds(100);

absl::Status CheckOptions(const ServerOptions& o) {
  if (o.urls.empty()) return absl::InvalidArgumentError("no inference server is named (rollout.servers.urls, --engine-url)");
  for (const std::string& url : o.urls) {
    absl::string_view rest = url;
    if (!absl::ConsumePrefix(&rest, "http://") && !absl::ConsumePrefix(&rest, "https://")) return absl::InvalidArgumentError(absl::StrCat("'", url, "' is no http(s):// url"));
    rest = absl::StripSuffix(rest, "/");
    if (rest.empty() || rest.find_first_of("/?#@ ") != absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("'", url, "' must be scheme, host and port alone, http://host:port"));
    }
  }
  if (o.concurrency < 1 || o.max_attempts < 1 || o.max_reply_mb < 1) return absl::InvalidArgumentError("concurrency, max_attempts and max_reply_mb must be at least 1");
  if (o.deadline <= absl::ZeroDuration() || o.refresh <= absl::ZeroDuration() || o.probe <= absl::ZeroDuration()) return absl::InvalidArgumentError("the servers' deadlines must be more than 0");
  if (o.path_here.empty() != o.path_there.empty()) return absl::InvalidArgumentError("of path_here and path_there one is given and not the other");
  return absl::OkStatus();
}

}  // namespace

std::string WeightsLabel(const std::string& run, int64_t version, const std::string& checksum) {
  std::string name = run;
  for (char& c : name) {
    if (!absl::ascii_isalnum(c) && c != '-' && c != '_' && c != '.') c = '-';
  }
  return absl::StrCat("swerve:", name, ":", version, ":", checksum);
}

struct RemoteEngine::Group {
  const GenerateRequest* request = nullptr;
  GenerateResult* result = nullptr;
  std::string image_url;
  absl::once_flag begun;
  absl::Time deadline;  // until when servers are tried; from when the first of its responses is begun
  std::atomic<bool> failed{false};
  absl::Mutex mutex;
  absl::Status status ABSL_GUARDED_BY(mutex);  // the first that is not OK
  size_t left ABSL_GUARDED_BY(mutex) = 0;
};

absl::StatusOr<std::unique_ptr<RemoteEngine>> RemoteEngine::Make(Parts parts) {
  SWERVE_RETURN_IF_ERROR(CheckOptions(parts.servers));
  SWERVE_ASSIGN_OR_RETURN(const std::string checksum, WeightsChecksum(parts.model_dir));
  auto engine = std::unique_ptr<RemoteEngine>(new RemoteEngine(std::move(parts)));
  absl::MutexLock lock(&engine->mutex_);
  engine->policy_.set_directory(engine->parts_.model_dir);
  engine->checksum_ = checksum;
  engine->pool_->Want(engine->WeightsOf(engine->policy_, checksum));
  return engine;
}

RemoteEngine::RemoteEngine(Parts parts) : parts_(std::move(parts)) {
  const ServerOptions& o = parts_.servers;
  std::vector<std::unique_ptr<ServerLine>> lines;
  for (const std::string& url : o.urls) {
    ServerLine::Options line{std::string(absl::StripSuffix(url, "/")), parts_.key, o.ca_file, static_cast<size_t>(o.max_reply_mb) << 20, [this] { return closing_.load(); }};
    lines.push_back(std::make_unique<ServerLine>(std::move(line), parts_.http));
  }
  ServerPool::Options pool{o.concurrency, o.refresh, o.probe, parts_.text->tokenizer().Encode("<|im_start|>user\nWhat comes next: one, two, three,"), parts_.text->config().eos, parts_.clock};
  pool_ = std::make_unique<ServerPool>(std::move(pool), parts_.dialect.get(), std::move(lines));
  const size_t threads = std::min(kMostThreads, o.urls.size() * static_cast<size_t>(o.concurrency));
  tasks_ = std::make_unique<TaskPool>(static_cast<int>(threads), threads, "remote-engine");
}

RemoteEngine::~RemoteEngine() {
  closing_ = true;
  tasks_.reset();
}

std::string RemoteEngine::PathThere(const std::string& path) const {
  const ServerOptions& o = parts_.servers;
  std::error_code error;
  const std::string whole = std::filesystem::absolute(path, error).lexically_normal().string();
  if (o.path_here.empty()) return whole;
  const std::string here = std::filesystem::absolute(o.path_here, error).lexically_normal().string();
  return absl::StartsWith(whole, here) ? absl::StrCat(o.path_there, whole.substr(here.size())) : whole;
}

ServerWeights RemoteEngine::WeightsOf(const v1::PolicyManifest& policy, const std::string& checksum) const {
  return {PathThere(policy.directory()), WeightsLabel(parts_.servers.run, policy.version(), checksum)};
}

absl::Status RemoteEngine::Check(const GenerateRequest& request) const {
  SWERVE_RETURN_IF_ERROR(parts_.dialect->Check(request));
  return parts_.text->Prompt(request).status();
}

absl::Status RemoteEngine::Prepare(const GenerateRequest& request, Group* group) const {
  SWERVE_RETURN_IF_ERROR(parts_.dialect->Check(request));
  SWERVE_ASSIGN_OR_RETURN(group->result->prompt_ids, parts_.text->Prompt(request));
  if (request.prompt.image) {
    SWERVE_ASSIGN_OR_RETURN(const std::string png, EncodePng(*request.prompt.image));
    group->image_url = absl::StrCat("data:image/png;base64,", absl::Base64Escape(png));
  }
  for (uint64_t seed : request.seeds) group->result->responses.emplace_back().set_seed(seed);
  group->request = &request;
  absl::MutexLock lock(&group->mutex);
  group->left = request.seeds.size();
  return absl::OkStatus();
}

v1::PolicyManifest RemoteEngine::Enter() {
  absl::MutexLock lock(&mutex_);
  const auto open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !loading_; };
  mutex_.Await(absl::Condition(&open));
  ++generating_;
  return policy_;
}

void RemoteEngine::Leave() {
  absl::MutexLock lock(&mutex_);
  --generating_;
}

absl::StatusOr<std::vector<GenerateResult>> RemoteEngine::Generate(absl::Span<const GenerateRequest> requests) {
  std::vector<GenerateResult> results(requests.size());
  std::vector<std::unique_ptr<Group>> groups;
  size_t all = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    groups.push_back(std::make_unique<Group>());
    groups[i]->result = &results[i];
    SWERVE_RETURN_IF_ERROR(Annotate(Prepare(requests[i], groups[i].get()), absl::StrCat("request ", i)));
    all += requests[i].seeds.size();
  }
  const v1::PolicyManifest policy = Enter();
  groups_ += static_cast<int64_t>(groups.size());
  absl::BlockingCounter left(static_cast<int>(all));
  for (auto& group : groups) {
    group->result->policy = policy;
    for (size_t sample = 0; sample < group->request->seeds.size(); ++sample) {
      tasks_->Submit([this, group = group.get(), sample, &left] {
        Respond(group, sample);
        left.DecrementCount();
      });
    }
  }
  left.Wait();
  groups_ -= static_cast<int64_t>(groups.size());
  Leave();
  for (size_t i = 0; i < groups.size(); ++i) {
    absl::MutexLock lock(&groups[i]->mutex);
    SWERVE_RETURN_IF_ERROR(Annotate(groups[i]->status, absl::StrCat("request ", i)));
  }
  return results;
}

// Nobody waits for its responses any longer, or they cannot be whole any more.
bool RemoteEngine::Cut(const Group& group) const {
  const GenerateRequest& r = *group.request;
  return closing_ || group.failed || (r.cancelled && r.cancelled->load()) || (r.deadline < absl::InfiniteFuture() && parts_.clock.now() > r.deadline);
}

void RemoteEngine::Respond(Group* group, size_t sample) {
  absl::call_once(group->begun, [&] { group->deadline = parts_.clock.now() + parts_.servers.deadline; });
  const ServerAsk ask{&group->result->prompt_ids, group->request, &group->image_url, &parts_.text->config().eos, group->request->seeds[sample], ""};
  ServerAnswer answer;
  v1::Response response;
  const absl::Status status = Ask(*group, ask, &answer, &response);
  End(group, sample, status, std::move(answer), std::move(response));
}

absl::Status RemoteEngine::Ask(const Group& group, const ServerAsk& ask, ServerAnswer* answer, v1::Response* response) {
  Backoff backoff;
  absl::Status last;
  for (int attempt = 1;; ++attempt) {
    bool again_at_once = false;
    last = Try(group, ask, answer, response, &again_at_once);
    if (last.ok() || absl::IsCancelled(last) || !ServerMayRecover(last)) return last;
    if (attempt >= parts_.servers.max_attempts) return absl::UnavailableError(absl::StrCat("after ", attempt, " attempts: ", last.message()));
    if (parts_.clock.now() >= group.deadline) return absl::UnavailableError(absl::StrCat("no time is left to try again: ", last.message()));
    spdlog::debug("asks again: {}", std::string(last.message()));
    if (!again_at_once) Wait(backoff.Next(parts_.clock), group);
  }
}

// One request to one server. `again_at_once`: what went wrong is put right before the server gets the next.
absl::Status RemoteEngine::Try(const Group& group, ServerAsk ask, ServerAnswer* answer, v1::Response* response, bool* again_at_once) {
  const auto cut = [this, &group] { return Cut(group); };
  SWERVE_ASSIGN_OR_RETURN(const ServerPool::Place place, pool_->Take(group.deadline, cut));
  const GenerateRequest& r = *ask.request;
  if (!place.tempered && ((r.temperature != 0 && r.temperature != 1) || r.top_p < 1)) {
    pool_->Give(place, ServerPool::Outcome::kServed);
    return absl::FailedPreconditionError(absl::StrCat(place.line->url(), " tells log-probabilities of temperature 1, not of what is asked for; ", parts_.dialect->HowToGetLogprobs()));
  }
  ask.model = place.model;
  ServerLine::Call call = parts_.dialect->Generate(ask);
  std::optional<absl::Duration> pause;
  call.timeout = std::min(group.deadline, r.deadline) - parts_.clock.now();
  call.given_up = cut;
  call.retry_after = &pause;
  const absl::StatusOr<std::string> body = place.line->Send(call);
  absl::Status status = body.status();
  if (status.ok()) {
    absl::StatusOr<ServerAnswer> read = parts_.dialect->Read(ask, *body);
    status = read.status();
    // Whose tokens they are comes first: other weights may write anything.
    if (status.ok() && read->weights && *read->weights != place.label) {
      status = absl::AbortedError(absl::StrCat(place.line->url(), " answered with the weights '", read->weights->substr(0, 200), "', not ", place.label));
    }
    if (status.ok() && !read->weights) status = pool_->Confirm(place);
    if (status.ok()) status = AcceptAnswer(*parts_.text, ask, &*read, response);
    if (status.ok()) *answer = *std::move(read);
    if (!status.ok()) status = absl::Status(status.code(), absl::StrContains(status.message(), place.line->url()) ? std::string(status.message()) : absl::StrCat(place.line->url(), ": ", status.message()));
  }
  if (absl::IsAborted(status)) {
    spdlog::warn("{}; it gets no requests until they are loaded", std::string(status.message()));
    *again_at_once = true;
    pool_->Give(place, ServerPool::Outcome::kStale);
  } else {
    const bool blamed = !status.ok() && ServerMayRecover(status) && !absl::IsResourceExhausted(status) && !cut();
    pool_->Give(place, blamed ? ServerPool::Outcome::kFailed : ServerPool::Outcome::kServed, pause);
  }
  if (!status.ok() && cut()) return absl::CancelledError("nobody waits for it any longer");
  return status;
}

void RemoteEngine::End(Group* group, size_t sample, const absl::Status& status, ServerAnswer answer, v1::Response response) {
  absl::MutexLock lock(&group->mutex);
  v1::Response& to = group->result->responses[sample];
  const GenerateRequest& request = *group->request;
  response.set_seed(to.seed());
  response.add_weight_versions(group->result->policy.version());
  if (absl::IsCancelled(status)) {
    response.set_finish(v1::CANCELLED);
    parts_.text->Finish(request.stop, &response);
  } else if (!status.ok()) {
    if (group->status.ok()) group->status = status;
    group->failed = true;
  }
  to = std::move(response);
  if (status.ok() && request.on_token) {
    for (size_t i = 0; i < answer.ids.size(); ++i) {
      request.on_token({static_cast<int>(sample), {answer.ids[i], answer.logprobs[i]}, i < answer.top.size() ? std::move(answer.top[i]) : std::vector<TokenLogprob>()});
    }
  }
  if (--group->left == 0 && group->status.ok() && request.on_done) request.on_done(*group->result);
}

void RemoteEngine::Wait(absl::Duration pause, const Group& group) const {
  const absl::Time until = std::min(parts_.clock.now() + pause, group.deadline);
  for (absl::Time now = parts_.clock.now(); now < until && !Cut(group); now = parts_.clock.now()) parts_.clock.sleep(std::min(kSlice, until - now));
}

absl::Status RemoteEngine::LoadWeights(const v1::PolicyManifest& policy) {
  SWERVE_ASSIGN_OR_RETURN(const std::string checksum, WeightsChecksum(policy.directory()));
  if (!policy.checksum().empty() && checksum != policy.checksum()) {
    return absl::DataLossError(absl::StrCat("the weights in ", policy.directory(), " have SHA-256 ", checksum, ", version ", policy.version(), " was announced with ", policy.checksum()));
  }
  SWERVE_RETURN_IF_ERROR(MapTensors(policy.directory(), parts_.text->config()).status());
  ServerWeights before;
  {
    absl::MutexLock lock(&mutex_);
    const auto open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !loading_; };
    mutex_.Await(absl::Condition(&open));
    loading_ = true;
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return generating_ == 0; };
    mutex_.Await(absl::Condition(&idle));
    before = WeightsOf(policy_, checksum_);
  }
  pool_->Want(WeightsOf(policy, checksum));
  const absl::Status loaded = pool_->Refresh();
  if (!loaded.ok()) pool_->Want(before);
  absl::MutexLock lock(&mutex_);
  loading_ = false;
  if (!loaded.ok()) return absl::UnavailableError(loaded.message());
  policy_ = policy;
  checksum_ = checksum;
  return absl::OkStatus();
}

v1::PolicyManifest RemoteEngine::policy() const {
  absl::MutexLock lock(&mutex_);
  return policy_;
}

absl::StatusOr<std::unique_ptr<Engine>> CreateRemoteEngine(const EngineOptions& options) {
  RemoteEngine::Parts parts;
  parts.servers = options.servers;
  parts.model_dir = options.model_dir;
  if (options.engine == "sglang") parts.dialect = SglangDialect();
  if (options.engine == "vllm") parts.dialect = VllmDialect(options.servers.model);
  if (parts.dialect == nullptr) return absl::InvalidArgumentError(absl::StrCat("engine '", options.engine, "' is none of sglang, vllm"));
  SWERVE_ASSIGN_OR_RETURN(parts.key, ApiKey::Find(options.servers.api_key_env, options.servers.api_key_file));
  SWERVE_ASSIGN_OR_RETURN(parts.text, EngineText::Load(options.model_dir, options.codec, options.codebook));
  parts.http = std::make_shared<CurlHttp>();
  if (options.now) parts.clock.now = options.now;
  return RemoteEngine::Make(std::move(parts));
}

}  // namespace swerve
