#include "evaluation/group_log.h"

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::ordered_json;

std::string PathOf(const std::string& run_dir) { return run_dir + "/groups.jsonl"; }

ShownResponse Shown(const v1::Response& response, const v1::Reward& reward) {
  return {response.text(), {response.poses().begin(), response.poses().end()}, reward.traj()};
}

Json ToJson(const ShownResponse& r) {
  Json poses = Json::array();
  for (const v1::Pose& p : r.poses) poses.push_back({p.x(), p.y(), p.heading()});
  return {{"text", r.text}, {"pdms", r.pdms}, {"poses", poses}};
}

ShownResponse ShownFromJson(const Json& json) {
  ShownResponse r{json.at("text").get<std::string>(), {}, json.at("pdms").get<double>()};
  for (const Json& p : json.at("poses")) {
    v1::Pose& pose = r.poses.emplace_back();
    pose.set_x(p.at(0).get<double>());
    pose.set_y(p.at(1).get<double>());
    pose.set_heading(p.at(2).get<double>());
  }
  return r;
}

std::string Line(const GroupRecord& g) {
  Json json = {{"group", g.group},         {"scene", g.scene_id}, {"weight_version", g.weight_version},
               {"originals", g.originals}, {"mean", g.mean},      {"total_failure", g.total_failure}};
  if (g.teacher_set > 0) json["teacher_set"] = g.teacher_set;
  for (const auto& [name, tally] : g.teachers) json["teachers"][name] = TallyToJson(tally);
  if (!g.terms.empty()) json["terms"] = g.terms;
  if (g.rescued) {
    json["failing"] = ToJson(g.failing);
    json["feedback"] = g.feedback;
    json["refined"] = ToJson(g.refined);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Throws nlohmann's exceptions on a line that is none of ours.
GroupRecord Parse(const Json& json) {
  GroupRecord g;
  g.group = json.at("group").get<uint64_t>();
  g.scene_id = json.at("scene").get<std::string>();
  g.weight_version = json.at("weight_version").get<int64_t>();
  g.originals = json.at("originals").get<int>();
  g.mean = json.at("mean").get<double>();
  g.total_failure = json.at("total_failure").get<bool>();
  g.teacher_set = json.value("teacher_set", uint64_t{0});
  if (json.contains("teachers")) {
    for (const auto& [name, tally] : json.at("teachers").items()) g.teachers[name] = TallyFromJson(tally);
  }
  if (json.contains("terms")) g.terms = json.at("terms").get<std::map<std::string, double>>();
  g.rescued = json.contains("refined");
  if (g.rescued) {
    g.failing = ShownFromJson(json.at("failing"));
    g.refined = ShownFromJson(json.at("refined"));
    g.feedback = json.at("feedback").get<std::string>();
  }
  return g;
}

}  // namespace

GroupRecord RecordOf(const v1::Episode& episode, double s) {
  GroupRecord g;
  g.teacher_set = episode.teacher_set_version();
  g.teachers = TallyTeachers(episode, s);
  g.scene_id = episode.scene_id();
  g.group = episode.group();
  g.weight_version = episode.weight_version();
  g.total_failure = true;
  std::map<std::string, int> with_term;
  for (const v1::Sample& sample : episode.samples()) {
    if (sample.outcome() != v1::OK && sample.outcome() != v1::OUTCOME_UNSPECIFIED) continue;
    ++g.originals;
    g.mean += sample.reward().traj();
    for (const v1::RewardTerm& term : sample.reward().terms()) {
      g.terms[term.name()] += term.value();
      ++with_term[term.name()];
    }
    g.total_failure = g.total_failure && sample.reward().traj() == 0;
  }
  g.total_failure = g.total_failure && g.originals > 0;
  if (g.originals > 0) g.mean /= g.originals;
  for (auto& [name, value] : g.terms) value /= with_term[name];
  const v1::Refinement* best = nullptr;
  for (const v1::Refinement& r : episode.refinements()) {
    if (r.of_sample() < 0 || r.of_sample() >= episode.samples_size() || r.reward().traj() <= 0) continue;
    if (best == nullptr || r.reward().traj() > best->reward().traj()) best = &r;
  }
  if (!g.total_failure || best == nullptr) return g;
  const v1::Sample& original = episode.samples(best->of_sample());
  g.rescued = true;
  g.failing = Shown(original.response(), original.reward());
  g.refined = Shown(best->response(), best->reward());
  g.feedback = original.feedback().prompt_text();
  return g;
}

absl::StatusOr<std::unique_ptr<GroupLog>> GroupLog::Open(const std::string& run_dir, double s) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(run_dir));
  std::FILE* file = std::fopen(PathOf(run_dir).c_str(), "a+b");
  if (file == nullptr) return ErrnoStatus(errno, "open", PathOf(run_dir));
  // Half a line that a killed process left must not swallow the next one.
  if (std::fseek(file, -1, SEEK_END) == 0 && std::fgetc(file) != '\n') std::fputc('\n', file);
  return std::unique_ptr<GroupLog>(new GroupLog(PathOf(run_dir), s, file));
}

GroupLog::~GroupLog() {
  absl::MutexLock lock(&mu_);
  std::fclose(file_);
}

absl::Status GroupLog::Write(const v1::Episode& episode) {
  const std::string line = Line(RecordOf(episode, s_));
  absl::MutexLock lock(&mu_);
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0) {
    return ErrnoStatus(errno, "append to", path_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<GroupRecord>> ReadGroups(const std::string& run_dir) {
  SWERVE_ASSIGN_OR_RETURN(const std::string content, ReadFile(PathOf(run_dir)));
  std::map<uint64_t, GroupRecord> groups;
  for (absl::string_view line : absl::StrSplit(content, '\n', absl::SkipEmpty())) {
    try {
      GroupRecord g = Parse(Json::parse(line.begin(), line.end()));
      const uint64_t number = g.group;
      groups[number] = std::move(g);
    } catch (const Json::exception&) {
      continue;  // half a line of a killed process
    }
  }
  std::vector<GroupRecord> out;
  for (auto& [number, g] : groups) out.push_back(std::move(g));
  return out;
}

}  // namespace swerve
