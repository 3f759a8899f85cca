#include "reward_service/http_api.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "reward_service/metrics.h"
#include "reward_service/retry_hint.h"

namespace swerve {
namespace {

using nlohmann::json;

// Takes {token, poses, verbose} out of a JSON text as it is read: nothing else is kept, and what is not such a body
// ends the reading at once. Other fields are skipped.
class PosesReader : public nlohmann::json_sax<json> {
 public:
  PosesReader(int levels, v1::ScoreGroupRequest* out) : levels_(levels), out_(out) {}

  const std::string& error() const { return error_; }
  bool has_token() const { return has_token_; }
  bool has_poses() const { return has_poses_; }
  bool verbose() const { return verbose_; }

  bool null() override { return Number(std::nan("")) || Skipped("null"); }
  bool boolean(bool value) override {
    if (!AtTop("verbose")) return Skipped("a boolean");
    verbose_ = value;
    return true;
  }
  bool number_integer(number_integer_t value) override { return number_float(static_cast<double>(value), {}); }
  bool number_unsigned(number_unsigned_t value) override { return number_float(static_cast<double>(value), {}); }
  bool number_float(number_float_t value, const string_t&) override { return Number(value) || Skipped("a number"); }
  bool string(string_t& value) override {
    if (AtTop("rules")) {
      const auto rules = RulesByName(value);
      if (!rules.ok()) return Fail(absl::StrCat("rules: ", std::string(rules.status().message())));
      out_->set_pdm_rules(*rules == pdm::Rules::kV2 ? v1::V2 : *rules == pdm::Rules::kV10 ? v1::V1_0 : v1::V1);
      return true;
    }
    if (!AtTop("token")) return Skipped("a string");
    out_->set_scene_id(value);
    has_token_ = true;
    return true;
  }
  bool binary(binary_t&) override { return Fail("binary data"); }
  bool start_object(std::size_t) override {
    if (depth_ > 0 && !Skipped("an object")) return false;
    return Deeper();
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    key_ = std::move(name);
    if (key_ == "poses" && has_poses_) return Fail("poses is given twice");
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override {
    if (depth_ == 0) return Fail("the body must be an object with token and poses");
    if (key_ != "poses") return Skipped("a list") && Deeper();
    if (depth_ > levels_) return Fail("poses: lists are nested too deeply");
    if (depth_ == 1) has_poses_ = true;
    if (depth_ == levels_ - 1) {
      if (out_->candidates_size() >= kMaxCandidates) return Fail("poses: too many trajectories in one request");
      out_->add_candidates()->set_parse(v1::EXACT);
    }
    if (depth_ == levels_) row_.clear();
    return Deeper();
  }
  bool end_array() override {
    if (--depth_ != levels_ || key_ != "poses") return true;
    if (row_.size() != 3) return Fail(absl::StrCat("poses: a pose has ", row_.size(), " numbers, not 3: x, y, heading"));
    v1::ScoreCandidate* candidate = out_->mutable_candidates(out_->candidates_size() - 1);
    if (candidate->poses_size() >= kMaxPoses) return true;  // of the wrong shape by now
    v1::Pose* pose = candidate->add_poses();
    pose->set_x(row_[0]), pose->set_y(row_[1]), pose->set_heading(row_[2]);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("the body is not JSON: error at byte ", position));
  }

 private:
  static constexpr int kMaxDepth = 32, kMaxCandidates = 1 << 16, kMaxPoses = 64;

  bool AtTop(const char* name) const { return depth_ == 1 && key_ == name; }
  bool Deeper() { return ++depth_ <= kMaxDepth || Fail("nested too deeply"); }
  // A number of a pose; null stands for one that is not finite, which JSON cannot say.
  bool Number(double value) {
    if (key_ != "poses" || depth_ != levels_ + 1 || row_.size() >= 3) return false;
    row_.push_back(value);
    return true;
  }
  // Fine anywhere but in a field of ours.
  bool Skipped(const char* what) {
    if (depth_ == 0) return Fail("the body must be an object with token and poses");
    if (key_ == "poses") {
      return Fail(absl::StrCat("poses: ", what, " is out of place; it must be a list of ",
                               levels_ == 2 ? "" : "trajectories, each a list of ", "[x, y, heading]"));
    }
    if (key_ == "token" || key_ == "rules") return Fail(absl::StrCat(key_, " must be a string, not ", what));
    if (key_ == "verbose" && absl::string_view(what) != "null") {
      return Fail(absl::StrCat("verbose must be true or false, not ", what));
    }
    return true;
  }
  bool Fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }

  const int levels_;  // lists around the numbers: 2 of one trajectory, 3 of a group
  v1::ScoreGroupRequest* const out_;
  int depth_ = 0;
  std::string key_;  // at the top
  std::vector<double> row_;
  bool has_token_ = false, has_poses_ = false, verbose_ = false;
  std::string error_;
};

int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument: return 400;
    case absl::StatusCode::kNotFound: return 404;
    case absl::StatusCode::kResourceExhausted: return 429;
    case absl::StatusCode::kUnavailable: return 503;
    case absl::StatusCode::kDeadlineExceeded: return 504;
    case absl::StatusCode::kCancelled: return 499;
    default: return 500;
  }
}

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) return absl::InternalError(absl::StrCat("the answer cannot be written as JSON: ", status.ToString()));
  return text;
}

absl::StatusOr<json> RewardJson(const v1::Reward& reward, const std::string& token, bool verbose) {
  const v1::SubScores& s = reward.scores();
  const bool valid = reward.invalid() == v1::INVALID_REASON_UNSPECIFIED;
  json out = {{"valid", valid},
              {"pdms", s.pdms()},
              {"pdms_scaled", valid ? ScaledPdms(s) : 0.0},
              {"no_at_fault_collisions", s.nc()},
              {"drivable_area_compliance", s.dac()},
              {"driving_direction_compliance", s.ddc()},
              {"ego_progress", s.ep()},
              {"time_to_collision_within_bound", s.ttc()},
              {"comfort", s.comfort()},
              {"history_comfort", s.comfort()}};  // the name that later NAVSIM versions use
  if (s.has_epdms()) {
    out["epdms"] = s.epdms();
    out["traffic_light_compliance"] = s.tlc();
    out["lane_keeping"] = s.lk();
    if (s.has_ec()) out["extended_comfort"] = s.ec();
    out["forgiven"] = std::vector<std::string>(s.forgiven().begin(), s.forgiven().end());
  }
  if (!valid) out["invalid"] = v1::InvalidReason_Name(reward.invalid());
  for (const v1::RewardTerm& term : reward.terms()) out["terms"][term.name()] = term.value();
  if (verbose) {
    out["token"] = token;
    SWERVE_ASSIGN_OR_RETURN(const std::string facts, ToJson(reward.facts()));
    out["facts"] = json::parse(facts);
  }
  return out;
}

absl::StatusOr<std::string> ScorePoses(const std::string& body, bool group, ScoringPool* pool) {
  bool verbose = false;
  SWERVE_ASSIGN_OR_RETURN(const v1::ScoreGroupRequest request, ParsePoses(body, group, &verbose));
  SWERVE_ASSIGN_OR_RETURN(const v1::ScoreGroupReply reply, pool->Score(request));
  json list = json::array();
  for (const v1::Reward& reward : reply.rewards()) {
    SWERVE_ASSIGN_OR_RETURN(json one, RewardJson(reward, request.scene_id(), verbose));
    list.push_back(std::move(one));
  }
  return Dump(group ? list : list[0]);
}

absl::StatusOr<std::string> ScoreMessage(const std::string& body, ScoringPool* pool) {
  v1::ScoreGroupRequest request;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  const auto status = google::protobuf::util::JsonStringToMessage(body, &request, options);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body is no swerve.v1.ScoreGroupRequest in JSON: ", std::string(status.message())));
  }
  SWERVE_ASSIGN_OR_RETURN(const v1::ScoreGroupReply reply, pool->Score(request));
  return ToJson(reply);
}

HttpResponse Route(const HttpCall& request, ScoringPool* pool) {
  const bool get = request.method == "GET", post = request.method == "POST";
  std::optional<absl::StatusOr<std::string>> answer;  // empty: not by this method
  if (request.path == "/health" || request.path == "/ping") {
    if (get) return {200, "{\"status\":\"ok\"}"};
  } else if (request.path == "/score" || request.path == "/score_group") {
    if (post) answer = ScorePoses(request.body, request.path == "/score_group", pool);
  } else if (request.path == "/v1/score_group") {
    if (post) answer = ScoreMessage(request.body, pool);
  } else {
    return HttpError(absl::NotFoundError(
        "no such path; there are GET /health and POST /score, /score_group and /v1/score_group"));
  }
  if (answer.has_value()) return answer->ok() ? HttpResponse{200, **std::move(answer)} : HttpError(answer->status());
  HttpResponse wrong = HttpError(absl::InvalidArgumentError("wrong method for this path"));
  wrong.status = 405;
  return wrong;
}

}  // namespace

absl::StatusOr<v1::ScoreGroupRequest> ParsePoses(absl::string_view body, bool group, bool* verbose) {
  v1::ScoreGroupRequest request;
  request.mutable_weights()->set_traj(1);
  PosesReader reader(group ? 3 : 2, &request);
  const bool read = json::sax_parse(body.begin(), body.end(), &reader);
  if (!reader.error().empty()) return absl::InvalidArgumentError(reader.error());
  if (!read) return absl::InvalidArgumentError("the body is not JSON");
  if (!reader.has_token()) return absl::InvalidArgumentError("token is missing: the id of a scene");
  if (!reader.has_poses()) return absl::InvalidArgumentError("poses is missing");
  *verbose = reader.verbose();
  return request;
}

double ScaledPdms(const v1::SubScores& s) {
  if (s.nc() == 0 || s.dac() == 0) return 0;
  const auto focal = [](double x) { return 1 - std::pow(1 - std::clamp(x, 0.0, 1.0), 0.6); };
  return (5 * focal(s.ep()) + 5 * focal(s.ttc()) + 2 * s.comfort()) / 12;
}

HttpResponse HttpError(const absl::Status& status) {
  json error = {{"code", absl::StatusCodeToString(status.code())}, {"message", std::string(status.message())}};
  HttpResponse response{HttpStatus(status.code()), {}};
  if (const auto delay = RetryAfter(status)) {
    error["retry_after_seconds"] = absl::ToDoubleSeconds(*delay);
    // The header knows whole seconds only.
    response.headers.emplace_back("Retry-After", absl::StrCat(absl::ToInt64Seconds(absl::Ceil(*delay, absl::Seconds(1)))));
  }
  response.body = Dump({{"error", error}});
  return response;
}

HttpResponse AnswerHttp(const HttpCall& request, ScoringPool* pool) {
  HttpResponse response = Route(request, pool);
  RewardMetrics::HttpRequests(response.status).Increment();
  return response;
}

}  // namespace swerve
