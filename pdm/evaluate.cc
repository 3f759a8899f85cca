#include "pdm/evaluate.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

constexpr double kCosAhead = 0.86602540378443864676;  // cos 30 degrees; behind is its negative
constexpr double kStoppedSpeed = 0.05, kStoppedForTtc = 0.005;
constexpr double kLaneHalfWidth = 0.5;  // m beside the centre line that count as in the lane
constexpr int kLaneSamples = 20;        // in a row beside it that are too many
constexpr int kMostNear = 32;           // objects looked at in one go
constexpr double kRounding = 1e-6;      // m

enum class Bearing { kAhead, kBehind, kNeither };

// §9, without the inverse cosine. The dot product is clamped by construction; zero distance is neither.
Bearing BearingOf(const Motion& motion, int t, Vec2 p) {
  const Vec2 d = p - Vec2{motion.x[t], motion.y[t]};
  const double length = Norm(d), along = Dot(motion.Axis(t), d);
  if (length == 0) return Bearing::kNeither;
  if (along > kCosAhead * length) return Bearing::kAhead;
  return along < -kCosAhead * length ? Bearing::kBehind : Bearing::kNeither;
}

int First(uint64_t bits) { return __builtin_ctzll(bits); }

// §10, one object: objects do not influence each other. Returns the factor for NC.
double Collisions(const Motion& motion, const Observation& o, const Near& near, const AreasAlong& areas, Trace* trace) {
  const int object = near.object;
  for (uint64_t left = near.at[0]; left != 0; left &= left - 1) {
    const int t = First(left);
    const Box& box = o.box(object, t);
    const Box ego = motion.EgoBox(t);
    if (!Intersects(ego, box)) continue;
    ContactKind kind = ContactKind::kLateral;
    if (motion.speed[t] <= kStoppedSpeed) {
      kind = ContactKind::kStoppedEgo;
    } else if (o.info(object).stopped) {
      kind = ContactKind::kStoppedTrack;
    } else if (BearingOf(motion, t, box.centre) == Bearing::kBehind) {
      kind = ContactKind::kRear;
    } else if (const auto corners = ego.Corners(); Intersects(corners[0], corners[3], box)) {
      kind = ContactKind::kFront;
    }
    const bool at_fault = kind == ContactKind::kFront || kind == ContactKind::kStoppedTrack ||
                          (kind == ContactKind::kLateral && (areas.flags[t] & (kMulti | kOff)) != 0);
    if (trace != nullptr) {
      trace->contacts.push_back({object, t, kind, at_fault});
      if (at_fault && (trace->first_at_fault < 0 || t < trace->first_at_fault)) trace->first_at_fault = t;
    }
    // Not at fault: ignored from here on. At fault: nothing later can lower the factor further.
    return at_fault ? (o.info(object).agent ? 0.0 : 0.5) : 1.0;
  }
  return 1.0;
}

// §15, one object. True when it violates before sample `last`; then *sample and *lookahead say when.
bool ViolatesTtc(const Motion& motion, const DrivableMap& map, const Observation& o, const Near& near,
                 const AreasAlong& areas, int last, int* sample, int* lookahead) {
  for (uint64_t left = near.at[0] | near.at[1] | near.at[2] | near.at[3]; left != 0; left &= left - 1) {
    const int t = First(left);
    if (t >= last) return false;
    if (motion.speed[t] < kStoppedForTtc) continue;
    for (size_t i = 0; i < kLookahead.size(); ++i) {
      if ((near.at[i] >> t & 1) == 0) continue;
      const Box& box = o.box(near.object, t + kLookahead[i]);
      const Box projected{{motion.centre_x[i][t], motion.centre_y[i][t]}, motion.Axis(t), kEgoHalfLength, kEgoHalfWidth};
      if (!Intersects(projected, box)) continue;
      const Bearing bearing = BearingOf(motion, t, box.centre);
      if (bearing == Bearing::kAhead ||
          (bearing != Bearing::kBehind &&
           ((areas.flags[t] & (kMulti | kOff)) != 0 || map.InIntersection({motion.x[t], motion.y[t]})))) {
        *sample = t;
        *lookahead = kLookahead[i];
        return true;
      }
      return false;  // ignored from here on
    }
  }
  return false;
}

}  // namespace

void MeetObjects(const Motion& motion, const DrivableMap& map, const Observation& observation, const AreasAlong& areas,
                 Rules rules, Metrics* m, Trace* trace) {
  int last = IsV1(rules) ? kSamples : 32;  // a violation later than the first one known changes nothing
  std::array<Near, kMostNear> near;
  for (int next = 0; next < observation.size();) {
    const int found = FindNear(motion, observation, kMostNear, &next, near.data());
    for (int i = 0; i < found; ++i) {
      m->nc = std::min(m->nc, Collisions(motion, observation, near[i], areas, trace));
      int sample, lookahead;
      if ((m->ttc == 1 || trace != nullptr) &&
          ViolatesTtc(motion, map, observation, near[i], areas, last, &sample, &lookahead)) {
        m->ttc = 0;
        last = sample;
        if (trace != nullptr) {
          trace->ttc_sample = sample;
          trace->ttc_object = near[i].object;
          trace->ttc_lookahead = lookahead;
        }
      }
    }
  }
}

Backwards DrivenBackwards(const Motion& motion, const AreasAlong& areas, Rules rules) {
  std::array<double, kSamples> moved{};
  bool any = false;
  for (int t = 1; t < kSamples; ++t) {
    if ((areas.flags[t] & kOncoming) != 0 && !(rules == Rules::kV2 && areas.crossing[t])) {
      moved[t] = Norm(motion.Centre(t) - motion.Centre(t - 1));
      any = true;
    }
  }
  Backwards worst;
  if (!any) return worst;
  double noted = 0;  // at worst.sample: at a constant speed the first whole window counts, not the one rounded up most
  for (int t = 0; t < kSamples; ++t) {
    double window = 0;
    for (int i = std::max(0, t - 10); i <= t; ++i) window += moved[i];
    worst.distance = std::max(worst.distance, window);
    if (window > noted + kRounding) {
      noted = window;
      worst.sample = t;
    }
  }
  return worst;
}

double DirectionCompliance(const Motion& motion, const AreasAlong& areas, Rules rules) {
  const double worst = DrivenBackwards(motion, areas, rules).distance;
  return worst < 2 ? 1 : worst < 6 ? 0.5 : 0;
}

LightCrossed FirstRedLight(const Motion& motion, const RedLights& lights) {
  for (int t = 0; t < kSamples && t < static_cast<int>(lights.at.size()); ++t) {
    for (int i : lights.at[t]) {
      if (lights.polygons[i].Intersects(motion.EgoBox(t))) return {i, t};
    }
  }
  return {};
}

double TrafficLights(const Motion& motion, const RedLights& lights) {
  return FirstRedLight(motion, lights).light >= 0 ? 0 : 1;
}

int LaneLost(const Motion& motion, const DrivableMap& map, const AreasAlong& areas) {
  int counter = 0, hint = 0;
  for (int t = 0; t < kSamples; ++t) {
    if (areas.crossing[t]) continue;
    counter = map.centreline().Within(motion.Centre(t), kLaneHalfWidth, &hint) ? 0 : counter + 1;
    if (counter >= kLaneSamples) return t;
  }
  return -1;
}

double LaneKeeping(const Motion& motion, const DrivableMap& map, const AreasAlong& areas) {
  return LaneLost(motion, map, areas) >= 0 ? 0 : 1;
}

void CheckComfort(const EvaluateOptions& options, const LaneStates& states, int lanes, ComfortResult* out) {
  if (options.comfort != nullptr) return options.comfort->Check(states, lanes, out);
  if (IsV1(options.rules)) return Comfort::V1(states.ay0).Check(states, lanes, out);
  for (int l = 0; l < lanes; ++l) out[l].holds.fill(true);
}

Metrics EvaluateMotion(const DrivableMap& map, const Observation& observation, const Motion& motion,
                       const ComfortResult& comfort, const EvaluateOptions& options, Trace* trace) {
  const AreasAlong areas = map.Along(motion);
  Metrics m;
  MeetObjects(motion, map, observation, areas, options.rules, &m, trace);
  m.dac = std::any_of(areas.flags.begin(), areas.flags.end(), [](uint8_t f) { return (f & kOff) != 0; }) ? 0 : 1;
  m.ddc = DirectionCompliance(motion, areas, options.rules);
  const double start = std::isnan(options.start_arc) ? map.centreline().Project(motion.Centre(0)).arc : options.start_arc;
  m.progress = std::max(0.0, map.centreline().Project(motion.Centre(kSteps)).arc - start);
  m.comfort = comfort.all() ? 1 : 0;
  if (!IsV1(options.rules)) {
    if (options.red_lights != nullptr) m.tlc = TrafficLights(motion, *options.red_lights);
    m.lk = LaneKeeping(motion, map, areas);
  }
  if (trace != nullptr) {
    trace->areas = areas;
    trace->comfort = comfort;
  }
  return m;
}

Metrics Evaluate(const DrivableMap& map, const Observation& observation, const States& states,
                 const EvaluateOptions& options, Trace* trace) {
  const LaneStates lanes = PackStates(states);
  Motion motion;
  MakeMotion(lanes, 0, &motion);
  ComfortResult comfort;
  CheckComfort(options, lanes, 1, &comfort);
  return EvaluateMotion(map, observation, motion, comfort, options, trace);
}

double NormalisedProgress(Rules rules, double raw_reference, double m_reference, double raw, double m) {
  double best = std::max(raw_reference * m_reference, raw * m);
  if (IsV1(rules)) {
    if (best > 5) return raw * m / best;
    return m == 0 ? 0 : 1;
  }
  return best > 5 ? std::clamp(raw / best, 0.0, 1.0) : 1;
}

double TotalScore(Rules rules, const Metrics& m, double ep) {
  if (IsV1(rules)) return m.Multiplier(rules) * (5 * ep + 5 * m.ttc + 2 * m.comfort) / 12;
  return m.Multiplier(rules) * (5 * ep + 5 * m.ttc + 2 * m.lk + 2 * m.comfort) / 14;
}

std::vector<double> BatchScores(Rules rules, absl::Span<const Metrics> batch) {
  double best = 0;
  for (const Metrics& m : batch) best = std::max(best, m.progress * m.Multiplier(rules));
  std::vector<double> out;
  for (const Metrics& m : batch) {
    out.push_back(TotalScore(rules, m, NormalisedProgress(rules, best, 1, m.progress, m.Multiplier(rules))));
  }
  return out;
}

}  // namespace swerve::pdm
