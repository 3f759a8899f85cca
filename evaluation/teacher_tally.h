// What each teacher was asked and what came of it, counted over episodes. Plain values, pure functions, torch-free.
#ifndef SWERVE_EVALUATION_TEACHER_TALLY_H_
#define SWERVE_EVALUATION_TEACHER_TALLY_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "swerve/v1/episode.pb.h"

namespace swerve {

// Sums over failed responses (r_traj < s), unless said otherwise. `asked` = reports + failures. A refinement belongs to the
// teacher whose report it answers; a response whose report came from a fallback is a failure of those asked before.
struct TeacherTally {
  double asked = 0;
  double reports = 0;                      // that the policy was given
  std::map<std::string, double> failures;  // by outcome's name
  double refinements = 0;                  // scored
  double successes = 0;                    // of these, r_traj >= s
  double gain = 0;                         // sum of r_traj of the refinement - r_traj of the original
  double seconds = 0;                      // of asking, retries and repair included
  double tokens = 0, money = 0;            // correct responses included, where those are asked about
  double holds_ground_truth = 0;           // reports that contain ground-truth poses
  double equals_ground_truth = 0;          // refinements that drive the ground truth

  void Add(const TeacherTally& other);

  double failed() const;
  // 0 where there is nothing to divide by.
  double success_rate() const { return Ratio(successes, refinements); }
  double mean_gain() const { return Ratio(gain, refinements); }
  double seconds_per_response() const { return Ratio(seconds, asked); }
  double holds_ratio() const { return Ratio(holds_ground_truth, reports); }
  double equals_ratio() const { return Ratio(equals_ground_truth, refinements); }
  static double Ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }
};

// By the teacher's name.
using TeacherTallies = std::map<std::string, TeacherTally>;

// Whom a failure is booked on when the call to the gateway itself failed, so that nobody says who would have been asked.
inline constexpr char kTeacherGateway[] = "gateway";

// `s`: the success threshold, rollout.success_threshold. Of a group that nobody was asked about: empty.
TeacherTallies TallyTeachers(const v1::Episode& episode, double s);

void AddTallies(const TeacherTallies& from, TeacherTallies* to);

// The numbers of one step by TensorBoard name: "teacher/<name>/<number>". Ratios without a denominator are absent.
std::map<std::string, double> TallyMetrics(const TeacherTallies& tallies);

nlohmann::ordered_json TallyToJson(const TeacherTally& tally);
// Numbers that are absent are 0; throws nlohmann's exceptions on a value of another type.
TeacherTally TallyFromJson(const nlohmann::ordered_json& json);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_TEACHER_TALLY_H_
