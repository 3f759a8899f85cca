// What values a configuration may hold. One line per rule; the mechanism is below the tables.
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/config.h"
#include "base/redis_url.h"

namespace swerve {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

struct Range {
  const char* path;
  double low;
  double high;
  bool low_excluded = false;
};
constexpr Range kRanges[] = {
    {"policy.image_size", 0, 4096},
    {"rollout.num_generations", 2, 1024},
    {"rollout.temperature", 0, 100, true},
    {"rollout.refine_temperature", 0, 100, true},
    {"rollout.max_new_tokens", 1, 65536},
    {"rollout.k", 0, 1024},
    {"rollout.success_threshold", 0, 1},
    {"rollout.workers", 1, 1024},
    {"rollout.groups_in_flight", 1, 4096},
    {"rollout.threads", 1, 1024},
    {"rollout.lease_seconds", 0, 86400, true},
    {"rollout.servers.deadline_seconds", 0, 86400, true},
    {"rollout.servers.max_attempts", 1, 1000},
    {"rollout.servers.concurrency", 1, 4096},
    {"rollout.servers.refresh_seconds", 0, 86400, true},
    {"rollout.servers.probe_seconds", 0, 3600, true},
    {"rollout.servers.max_reply_mb", 1, 1024},
    {"reward.threads", 0, 1024},
    {"reward.max_queue", 1, 1 << 20},
    {"reward.deadline_seconds", 0, 3600, true},
    {"reward.max_message_mb", 1, 1024},
    {"reward.max_queue_mb", 1, 1 << 20},
    {"reward.max_candidates", 1, 1 << 20},
    {"reward.cache_mb", 0, 1 << 20},
    {"reward.http_port", 0, 65535},
    {"reward.http_max_body_mb", 1, 1024},
    {"reward.rules.spanvla.w_neg", 0, 1e6},
    {"reward.rules.spanvla.w_rec", 0, 1e6},
    {"reward.rules.spanvla.lambda_cot", 0, 1e6},
    {"reward.rules.spanvla.similarity_bound", 1e-3, 1e6},
    {"reward.rules.spanvla.cot_free", 0, 1 << 30},
    {"reward.rules.spanvla.cot_full", 1, kNoLimit},
    {"reward.rules.spanvla.contradiction", 0, 1e6},
    {"reward.rules.adaptive_think.weight", 0, 1e6},
    {"reward.rules.adaptive_think.threshold", 0, 1},
    {"teacher.deadline_seconds", 0, 3600, true},
    {"teacher.threads", 1, 1024},
    {"teacher.report_noise", 0, 1000},
    {"teacher.reload_seconds", 0, 3600, true},
    {"teacher.cache_mb", 0, 1 << 20},
    {"buffers.max_waiting_mb", 1, 1 << 20},
    {"buffers.patience_seconds", 0, 3600, true},
    {"learner.steps", 1, 1 << 30},
    {"learner.batch_groups", 1, 1 << 20},
    {"learner.num_iterations", 1, 1000},
    {"learner.learning_rate", 0, 1, true},
    {"learner.weight_decay", 0, 10},
    {"learner.warmup_ratio", 0, 1},
    {"learner.max_grad_norm", 0, kNoLimit, true},
    {"learner.adam_beta1", 0, 0.999999},
    {"learner.adam_beta2", 0, 0.9999999},
    {"learner.adam_eps", 0, 1, true},
    {"learner.epsilon", 0, 10, true},
    {"learner.epsilon_high", 0, 10, true},
    {"learner.beta", 0, kNoLimit},
    {"learner.gamma", 0, kNoLimit, true},
    {"learner.micro_batch", 1, 1 << 20},
    {"learner.checkpoint_every", 1, 1 << 30},
    {"learner.keep_checkpoints", 1, 1 << 20},
    {"learner.threads", 1, 1024},
    {"learner.max_seconds", 0, kNoLimit},
    {"orchestrator.max_staleness", 0, 1000},
    {"orchestrator.difficulty_weight", 0, 1},
    {"orchestrator.max_restarts", 0, 1 << 20},
    {"orchestrator.drain_seconds", 0, 86400},
    {"limits.max_streams", 1, 1 << 20},
    {"limits.calls_per_second", 0, kNoLimit},
    {"limits.http_requests", 1, 4096},
    {"limits.http_requests_per_second", 0, kNoLimit},
};

struct Choice {
  const char* path;
  const char* names;  // comma-separated
};
constexpr Choice kChoices[] = {
    {"policy.codec", "pose3_text,xy_text,xy_parenthesised,json_traj,codebook,speed_curvature"},
    {"rollout.engine", "local,sglang,vllm"},
    {"reward.pdm_rules", "v1,v1.0,v2"},
    {"teacher.kind", "oracle,rule,ground_truth,none"},
    {"learner.profile", "elf,luffy,luffy_paper,grpo_verl,dapo_verl,grpo_trl,dapo_trl,dr_grpo_trl"},
    {"learner.lr_scheduler", "constant,cosine,linear"},
    {"learner.fill", "best_original,none"},
    {"learner.gate", "outcome,none"},
    {"learner.scale_rewards", "group,none"},
    {"telemetry.log_level", "trace,debug,info,warning,error"},
};

// The field at a dotted path and the message that holds it. Paths in the tables exist: a test walks them all.
struct Found {
  const Message* message;
  const FieldDescriptor* field;
};
Found Find(const Message& root, const char* path) {
  Found found{&root, nullptr};
  for (absl::string_view name : absl::StrSplit(path, '.')) {
    if (found.field != nullptr) found.message = &found.message->GetReflection()->GetMessage(*found.message, found.field);
    found.field = found.message->GetDescriptor()->FindFieldByName(std::string(name));
    if (found.field == nullptr) return found;
  }
  return found;
}

absl::Status Refuse(absl::string_view path, absl::string_view rest) {
  return absl::InvalidArgumentError(absl::StrCat("config: field '", path, "' ", rest));
}

absl::Status CheckRange(const v1::RunConfig& config, const Range& range) {
  const Found at = Find(config, range.path);
  if (at.field == nullptr) return absl::InternalError(absl::StrCat("range rule for unknown field ", range.path));
  if (!at.field->has_default_value() && !at.message->GetReflection()->HasField(*at.message, at.field)) {
    return absl::OkStatus();
  }
  const double value = at.field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE
                           ? at.message->GetReflection()->GetDouble(*at.message, at.field)
                           : at.message->GetReflection()->GetInt32(*at.message, at.field);
  if ((range.low_excluded ? value > range.low : value >= range.low) && value <= range.high) return absl::OkStatus();
  std::string allowed = absl::StrCat(range.low_excluded ? "more than " : "at least ", range.low);
  if (range.high != kNoLimit) absl::StrAppend(&allowed, " and at most ", range.high);
  return Refuse(range.path, absl::StrCat("is ", value, " but must be ", allowed));
}

absl::Status CheckChoice(const v1::RunConfig& config, const Choice& choice) {
  const Found at = Find(config, choice.path);
  if (at.field == nullptr) return absl::InternalError(absl::StrCat("choice rule for unknown field ", choice.path));
  const std::string value = at.message->GetReflection()->GetString(*at.message, at.field);
  const std::vector<std::string> names = absl::StrSplit(choice.names, ',');
  for (const std::string& name : names) {
    if (name == value) return absl::OkStatus();
  }
  return Refuse(choice.path, absl::StrCat("is '", value, "' but must be one of: ", absl::StrJoin(names, ", ")));
}

// Whoever reaches a plain port of a role may read the scenes, feed the learner and end the run.
absl::Status CheckListen(const v1::RunConfig& config) {
  const std::string& listen = config.telemetry().listen();
  if (IsLoopback(listen) || !config.security().certs().empty() || config.security().insecure()) return absl::OkStatus();
  return Refuse("telemetry.listen",
                absl::StrCat("is ", listen, ", which other machines reach, and there is no TLS; make certificates with "
                             "'swerve certs init DIR' and give --set security.certs=DIR, or listen on 127.0.0.1, or, where "
                             "the network itself keeps strangers out, give --insecure"));
}

absl::Status CheckRewardRules(const v1::RewardRules& rules) {
  // Those of reward_service/reward_function.cc.
  static constexpr absl::string_view kKnown[] = {"spanvla", "adaptive_think"};
  std::set<std::string> seen;
  for (const std::string& name : rules.functions()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      return Refuse("reward.rules.functions",
                    absl::StrCat("names '", name, "' but may hold: ", absl::StrJoin(kKnown, ", ")));
    }
    if (!seen.insert(name).second) return Refuse("reward.rules.functions", absl::StrCat("names '", name, "' twice"));
  }
  if (rules.spanvla().cot_full() > rules.spanvla().cot_free()) return absl::OkStatus();
  return Refuse("reward.rules.spanvla.cot_full", absl::StrCat("is ", rules.spanvla().cot_full(),
                                                              " but must be more than reward.rules.spanvla.cot_free, ",
                                                              rules.spanvla().cot_free()));
}

absl::Status CheckEngine(const v1::RunConfig& config) {
  const v1::RolloutConfig& rollout = config.rollout();
  const v1::ServersConfig& servers = rollout.servers();
  if (rollout.engine() == "local") {
    return servers.urls().empty() ? absl::OkStatus() : Refuse("rollout.servers.urls", "names inference servers, but rollout.engine is local; set it to sglang or vllm");
  }
  if (servers.urls_size() < rollout.workers()) {
    return Refuse("rollout.servers.urls", absl::StrCat("names ", servers.urls_size(), " inference servers for ", rollout.workers(),
                                                       " workers (rollout.workers), and each worker needs one of its own"));
  }
  for (const std::string& url : servers.urls()) {
    if (!absl::StartsWith(url, "http://") && !absl::StartsWith(url, "https://")) return Refuse("rollout.servers.urls", absl::StrCat("holds '", url, "', which is no http:// or https:// url"));
  }
  if (servers.deadline_seconds() >= rollout.lease_seconds()) {
    return Refuse("rollout.servers.deadline_seconds", "must be less than rollout.lease_seconds, or a group is leased again while it is still generated");
  }
  if (servers.path_here().empty() != servers.path_there().empty()) return Refuse("rollout.servers.path_there", "and path_here go together");
  if (rollout.stream_weights()) return Refuse("rollout.stream_weights", "needs rollout.engine local: inference servers do not tell which weights each token is of");
  if (config.deterministic()) return Refuse("rollout.engine", "must be local with deterministic: true; inference servers do not promise the same bytes");
  return absl::OkStatus();
}

bool IsDevice(absl::string_view device) {
  if (device == "cpu" || device == "cuda") return true;
  if (!absl::StartsWith(device, "cuda:") || device.size() == 5) return false;
  return device.substr(5).find_first_not_of("0123456789") == absl::string_view::npos;
}

}  // namespace

bool IsLoopback(const std::string& listen) { return absl::StartsWith(listen, "127.") || listen == "localhost"; }

absl::Status ValidateRunConfig(const v1::RunConfig& config) {
  for (const Range& range : kRanges) SWERVE_RETURN_IF_ERROR(CheckRange(config, range));
  for (const Choice& choice : kChoices) SWERVE_RETURN_IF_ERROR(CheckChoice(config, choice));
  if (!IsDevice(config.policy().device())) {
    return Refuse("policy.device", absl::StrCat("is '", config.policy().device(), "' but must be cpu or cuda:N"));
  }
  SWERVE_RETURN_IF_ERROR(CheckListen(config));
  if (config.policy().model().empty()) return Refuse("policy.model", "is empty; give a model directory");
  if ((config.policy().codec() == "codebook") == config.policy().codebook().empty()) {
    return Refuse("policy.codebook", config.policy().codebook().empty() ? "is empty; the codec codebook needs a safetensors file of its tokens' motions"
                                                                        : "is of the codec codebook alone");
  }
  if (config.run_dir().empty()) return Refuse("run_dir", "is empty; give a directory");
  if (const int n = config.reward().reward_weights_size(); n != 0 && n != 3) {
    return Refuse("reward.reward_weights", absl::StrCat("has ", n, " entries but needs 3: [traj, fmt, goal]"));
  }
  for (const double weight : config.reward().reward_weights()) {
    if (weight < 0) return Refuse("reward.reward_weights", "holds a negative weight");
  }
  SWERVE_RETURN_IF_ERROR(CheckRewardRules(config.reward().rules()));
  SWERVE_RETURN_IF_ERROR(CheckEngine(config));
  const std::string& url = config.buffers().url();
  if (IsRedisUrl(url)) {
    const absl::Status parsed = ParseRedisUrl(url).status();
    if (!parsed.ok()) return Refuse("buffers.url", absl::StrCat("cannot be used: ", parsed.message()));
  } else if (url != "sqlite" && !absl::StartsWith(url, "sqlite:///")) {
    // Not quoted: a mistyped Redis URL may hold a password.
    return Refuse("buffers.url", "must be sqlite, sqlite:///path, redis://host[:port][/db] or unix:///path");
  }
  if (config.rollout().k() > config.rollout().num_generations()) {
    return Refuse("rollout.k", "is larger than rollout.num_generations; there are not that many refinements");
  }
  if (config.deterministic() && config.learner().max_seconds() > 0) {
    return Refuse("learner.max_seconds", "stops by the clock, which deterministic: true does not allow; use steps");
  }
  return absl::OkStatus();
}

}  // namespace swerve
