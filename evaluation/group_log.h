// What became of every group of a run, in a form that outlives the episode store (which forgets an episode once it is
// trained on): `<run>/groups.jsonl`, one line a group, with what its teachers were asked and what came of it. Groups in which every original failed and a refinement did not
// carry their texts and trajectories, for the report.
#ifndef SWERVE_EVALUATION_GROUP_LOG_H_
#define SWERVE_EVALUATION_GROUP_LOG_H_

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "evaluation/teacher_tally.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

// A response as the report shows it.
struct ShownResponse {
  std::string text;
  std::vector<v1::Pose> poses;
  double pdms = 0;
};

struct GroupRecord {
  std::string scene_id;
  uint64_t group = 0;
  int64_t weight_version = 0;
  int originals = 0;          // scored ones
  double mean = 0;            // of their r_traj
  std::map<std::string, double> terms;  // of the reward functions, by name: mean over the originals that have it
  bool total_failure = false; // all of them have r_traj = 0
  uint64_t teacher_set = 0;   // version of the set of teachers; 0: none was asked
  TeacherTallies teachers;    // of its failed responses
  bool rescued = false;       // total_failure, and a refinement has r_traj > 0: the rest is set
  ShownResponse failing, refined;
  std::string feedback;       // the report that led from one to the other
};

// `s`: the success threshold, rollout.success_threshold. Pure.
GroupRecord RecordOf(const v1::Episode& episode, double s);

// Appends, one flushed line a group. Thread-safe. A group written twice (a resumed run) counts once, the later line.
class GroupLog {
 public:
  // Errors: those of base/files.h.
  static absl::StatusOr<std::unique_ptr<GroupLog>> Open(const std::string& run_dir, double s);
  ~GroupLog();
  GroupLog(const GroupLog&) = delete;
  GroupLog& operator=(const GroupLog&) = delete;

  absl::Status Write(const v1::Episode& episode) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  GroupLog(std::string path, double s, std::FILE* file) : path_(std::move(path)), s_(s), file_(file) {}
  const std::string path_;
  const double s_;
  absl::Mutex mu_;
  std::FILE* file_ ABSL_GUARDED_BY(mu_);
};

// Ascending by group. Broken lines are skipped. NOT_FOUND when the run has no such file.
absl::StatusOr<std::vector<GroupRecord>> ReadGroups(const std::string& run_dir);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_GROUP_LOG_H_
