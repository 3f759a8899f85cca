// The metrics of simulations against a map and an observation (spec: PDM score §8-§16), before progress is normalised.
// Pure and thread-safe; no allocation unless a trace asks for contacts.
#ifndef SWERVE_PDM_EVALUATE_H_
#define SWERVE_PDM_EVALUATE_H_

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "pdm/comfort.h"
#include "pdm/occupancy.h"
#include "pdm/types.h"

namespace swerve::pdm {

// v1 is NAVSIM v1.1; v1.0 differs in that driving direction multiplies too (§23).
enum class Rules { kV1, kV10, kV2 };
inline bool IsV1(Rules rules) { return rules != Rules::kV2; }

struct Metrics {
  double nc = 1, dac = 1, ddc = 1, ttc = 1, comfort = 1;
  double tlc = 1, lk = 1;  // v2; 1 under v1 rules
  double progress = 0;     // raw, metres along the centreline

  double Multiplier(Rules rules) const {
    return rules == Rules::kV1 ? nc * dac : rules == Rules::kV10 ? nc * dac * ddc : nc * dac * ddc * tlc;
  }
};

enum class ContactKind { kStoppedEgo, kStoppedTrack, kRear, kFront, kLateral };

// First contact with one object.
struct Contact {
  int object = 0;
  int sample = 0;
  ContactKind kind = ContactKind::kLateral;
  bool at_fault = false;
};

// Why the metrics are what they are. Indices are samples of 0.1 s; -1: never.
struct Trace {
  AreasAlong areas;
  int first_at_fault = -1;
  int ttc_sample = -1, ttc_object = -1, ttc_lookahead = 0;  // look-ahead in samples
  ComfortResult comfort;
  std::vector<Contact> contacts;

  void Clear() {  // keeps the memory of contacts
    contacts.clear();
    std::vector<Contact> kept = std::move(contacts);
    *this = Trace{};
    contacts = std::move(kept);
  }
};

// Red-light polygons in force per sample (v2); indices into `polygons`.
struct RedLights {
  std::vector<Polygon> polygons;
  std::vector<std::string> tokens;  // of the polygons
  std::vector<std::vector<int>> at;  // empty: none
};

// `comfort`: null is that of the rules without history, which under v2 rules always holds. `red_lights`: v2 (null: none).
// `start_arc`: arc length of the ego's centre at t = 0 on the centreline, if the caller knows it; NaN: computed here.
struct EvaluateOptions {
  Rules rules = Rules::kV1;
  const Comfort* comfort = nullptr;
  const RedLights* red_lights = nullptr;
  double start_arc = std::numeric_limits<double>::quiet_NaN();
};
// `trace` may be null.
Metrics Evaluate(const DrivableMap& map, const Observation& observation, const States& states,
                 const EvaluateOptions& options = {}, Trace* trace = nullptr);

// Its stages, for many candidates side by side; Evaluate is all of them for one.
// Comfort of the first `lanes` lanes.
void CheckComfort(const EvaluateOptions& options, const LaneStates& states, int lanes, ComfortResult* out);
// Everything else.
Metrics EvaluateMotion(const DrivableMap& map, const Observation& observation, const Motion& motion,
                       const ComfortResult& comfort, const EvaluateOptions& options, Trace* trace);
// Of EvaluateMotion: §10 and §15 (into nc and ttc), §12, §13, §16.
void MeetObjects(const Motion& motion, const DrivableMap& map, const Observation& observation, const AreasAlong& areas,
                 Rules rules, Metrics* metrics, Trace* trace);
double DirectionCompliance(const Motion& motion, const AreasAlong& areas, Rules rules);
double TrafficLights(const Motion& motion, const RedLights& lights);
double LaneKeeping(const Motion& motion, const DrivableMap& map, const AreasAlong& areas);

// What is behind the last three, for the facts.
struct Backwards {
  double distance = 0;  // m against the driving direction within the worst second
  int sample = 0;       // its end
};
Backwards DrivenBackwards(const Motion& motion, const AreasAlong& areas, Rules rules);
struct LightCrossed {
  int light = -1;  // index of RedLights::polygons; -1: none
  int sample = 0;
};
LightCrossed FirstRedLight(const Motion& motion, const RedLights& lights);
// The sample at which the ego has been beside its lane's centre for too long; -1: never.
int LaneLost(const Motion& motion, const DrivableMap& map, const AreasAlong& areas);

// EP of the batch {reference, candidate} (§14), each given as raw progress and multiplier.
double NormalisedProgress(Rules rules, double raw_reference, double m_reference, double raw, double m);

// The score without extended comfort: PDMS (§18, §23) or the column pdm_score (§19.1).
double TotalScore(Rules rules, const Metrics& metrics, double ep);

// The same for proposals scored as one batch: progress is normalised by the best of them all. For the reference
// planner's choice (Appendix A); never for candidates, which are independent of each other.
std::vector<double> BatchScores(Rules rules, absl::Span<const Metrics> batch);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_EVALUATE_H_
