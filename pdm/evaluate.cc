#include "pdm/evaluate.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

constexpr double kCosAhead = 0.86602540378443864676;  // cos 30 degrees; behind is its negative
constexpr double kStoppedSpeed = 0.05, kStoppedForTtc = 0.005;
constexpr std::array<int, 4> kLookahead = {0, 3, 6, 9};
const double kEgoRadius = std::sqrt(kEgoHalfLength * kEgoHalfLength + kEgoHalfWidth * kEgoHalfWidth);

// One simulation with what several metrics share.
struct Run {
  const States& states;
  std::array<Box, kSamples> boxes;
  std::array<double, kSamples> speed;
  Bounds swept;  // by the boxes and their projections
  int ttc_samples;

  Run(const States& s, Rules rules) : states(s), ttc_samples(IsV1(rules) ? kSamples : 32) {
    for (int t = 0; t < kSamples; ++t) {
      const EgoRow& r = s[t];
      boxes[t] = EgoBox(r.x, r.y, Direction(r.heading));
      speed[t] = r.vy == 0 ? std::fabs(r.vx) : std::hypot(r.vx, r.vy);
      for (double ahead : {0.0, speed[t] * 0.9}) {
        Vec2 c = boxes[t].centre + ahead * boxes[t].axis;
        swept.Add(Vec2{c.x - kEgoRadius, c.y - kEgoRadius});
        swept.Add(Vec2{c.x + kEgoRadius, c.y + kEgoRadius});
      }
    }
  }
};

enum class Bearing { kAhead, kBehind, kNeither };

// §9, without the inverse cosine. The dot product is clamped by construction; zero distance is neither.
Bearing BearingOf(const EgoRow& row, Vec2 axis, Vec2 p) {
  Vec2 d = p - Vec2{row.x, row.y};
  double length = Norm(d), along = Dot(axis, d);
  if (length == 0) return Bearing::kNeither;
  if (along > kCosAhead * length) return Bearing::kAhead;
  return along < -kCosAhead * length ? Bearing::kBehind : Bearing::kNeither;
}

bool Near(Vec2 a, Vec2 b, double reach) {
  Vec2 d = a - b;
  return Dot(d, d) <= reach * reach;
}

// §10, one object: objects do not influence each other. Returns the factor for NC.
double Collisions(const Run& run, const Observation& o, int object, const std::array<uint8_t, kSamples>& areas,
                  Trace* trace) {
  double reach = kEgoRadius + o.radius(object) + 1e-6;
  for (int t = 0; t < kSamples; ++t) {
    const Box& box = o.box(object, t);
    const Box& ego = run.boxes[t];
    if (!Near(box.centre, ego.centre, reach) || !Intersects(ego, box)) continue;
    auto corners = ego.Corners();
    ContactKind kind = ContactKind::kLateral;
    if (run.speed[t] <= kStoppedSpeed) {
      kind = ContactKind::kStoppedEgo;
    } else if (o.info(object).stopped) {
      kind = ContactKind::kStoppedTrack;
    } else if (BearingOf(run.states[t], ego.axis, box.centre) == Bearing::kBehind) {
      kind = ContactKind::kRear;
    } else if (Intersects(corners[0], corners[3], box)) {
      kind = ContactKind::kFront;
    }
    bool at_fault = kind == ContactKind::kFront || kind == ContactKind::kStoppedTrack ||
                    (kind == ContactKind::kLateral && (areas[t] & (kMulti | kOff)) != 0);
    if (trace != nullptr) {
      trace->contacts.push_back({object, t, kind, at_fault});
      if (at_fault && (trace->first_at_fault < 0 || t < trace->first_at_fault)) trace->first_at_fault = t;
    }
    // Not at fault: ignored from here on. At fault: nothing later can lower the factor further.
    return at_fault ? (o.info(object).agent ? 0.0 : 0.5) : 1.0;
  }
  return 1.0;
}

// §15, one object. True when it violates; then *sample and *lookahead say when.
bool ViolatesTtc(const Run& run, const DrivableMap& map, const Observation& o, int object,
                 const std::array<uint8_t, kSamples>& areas, int last, int* sample, int* lookahead) {
  double reach = kEgoRadius + o.radius(object) + 1e-6;
  for (int t = 0; t < last; ++t) {
    if (run.speed[t] < kStoppedForTtc) continue;
    const Box& ego = run.boxes[t];
    for (int f : kLookahead) {
      if (t + f >= o.samples()) break;
      const Box& box = o.box(object, t + f);
      Vec2 centre = ego.centre + (run.speed[t] * (0.1 * f)) * ego.axis;
      if (!Near(box.centre, centre, reach)) continue;
      Box projected{centre, ego.axis, ego.half_length, ego.half_width};
      if (!Intersects(projected, box)) continue;
      Bearing bearing = BearingOf(run.states[t], ego.axis, box.centre);
      const EgoRow& r = run.states[t];
      if (bearing == Bearing::kAhead ||
          (bearing != Bearing::kBehind && ((areas[t] & (kMulti | kOff)) != 0 || map.InIntersection({r.x, r.y})))) {
        *sample = t;
        *lookahead = f;
        return true;
      }
      return false;  // ignored from here on
    }
  }
  return false;
}

// §12.
double DirectionCompliance(const Run& run, const DrivableMap& map, const std::array<uint8_t, kSamples>& areas,
                           Rules rules) {
  std::array<double, kSamples> moved{};
  double window = 0, worst = 0;
  for (int t = 0; t < kSamples; ++t) {
    if (t > 0 && (areas[t] & kOncoming) != 0 &&
        !(rules == Rules::kV2 && map.InIntersection(run.boxes[t].centre))) {
      moved[t] = Norm(run.boxes[t].centre - run.boxes[t - 1].centre);
    }
    window = 0;
    for (int i = std::max(0, t - 10); i <= t; ++i) window += moved[i];
    worst = std::max(worst, window);
  }
  return worst < 2 ? 1 : worst < 6 ? 0.5 : 0;
}

// §13.
double TrafficLights(const Run& run, const RedLights& lights) {
  for (int t = 0; t < kSamples && t < static_cast<int>(lights.at.size()); ++t) {
    for (int i : lights.at[t]) {
      if (lights.polygons[i].Intersects(run.boxes[t])) return 0;
    }
  }
  return 1;
}

// §16.
double LaneKeeping(const Run& run, const DrivableMap& map) {
  int counter = 0, hint = 0;
  for (const Box& box : run.boxes) {
    if (map.InIntersection(box.centre)) continue;
    counter = map.centreline().Within(box.centre, 0.5, &hint) ? 0 : counter + 1;
    if (counter >= 20) return 0;
  }
  return 1;
}

}  // namespace

Metrics Evaluate(const DrivableMap& map, const Observation& observation, const States& states,
                 const EvaluateOptions& options, Trace* trace) {
  Run run(states, options.rules);
  auto areas = map.Flags(run.boxes);
  Metrics m;
  int last_ttc = run.ttc_samples;  // a violation later than the first one known changes nothing
  for (int object = 0; object < observation.size(); ++object) {
    if (!observation.bounds(object).Overlaps(run.swept)) continue;
    m.nc = std::min(m.nc, Collisions(run, observation, object, areas, trace));
    int sample, lookahead;
    if ((m.ttc == 1 || trace != nullptr) &&
        ViolatesTtc(run, map, observation, object, areas, last_ttc, &sample, &lookahead)) {
      m.ttc = 0;
      last_ttc = sample;
      if (trace != nullptr) {
        trace->ttc_sample = sample;
        trace->ttc_object = object;
        trace->ttc_lookahead = lookahead;
      }
    }
  }
  m.dac = std::any_of(areas.begin(), areas.end(), [](uint8_t f) { return (f & kOff) != 0; }) ? 0 : 1;
  m.ddc = DirectionCompliance(run, map, areas, options.rules);
  double start = std::isnan(options.start_arc) ? map.centreline().Project(run.boxes[0].centre).arc : options.start_arc;
  m.progress = std::max(0.0, map.centreline().Project(run.boxes[kSteps].centre).arc - start);
  ComfortResult comfort;
  if (IsV1(options.rules)) {
    comfort = ComfortV1(states);
    m.comfort = comfort.all() ? 1 : 0;
  } else {
    if (options.history != nullptr) {
      comfort = options.history->Check(states);
      m.comfort = comfort.all() ? 1 : 0;
    }
    if (options.red_lights != nullptr) m.tlc = TrafficLights(run, *options.red_lights);
    m.lk = LaneKeeping(run, map);
  }
  if (trace != nullptr) {
    trace->areas = areas;
    trace->comfort = comfort;
  }
  return m;
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
