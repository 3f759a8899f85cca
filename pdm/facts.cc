// Why a trajectory lost points, in terms a teacher can use.
#include <algorithm>

#include "pdm/score.h"

namespace swerve::pdm {
namespace {

double TimeOf(int sample) { return sample / 10.0; }

// The part of a convex polygon on the side of the line where n·p <= limit.
std::vector<Vec2> Clip(const std::vector<Vec2>& polygon, Vec2 n, double limit) {
  std::vector<Vec2> out;
  for (size_t i = 0; i < polygon.size(); ++i) {
    Vec2 a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    double da = Dot(n, a) - limit, db = Dot(n, b) - limit;
    if (da <= 0) out.push_back(a);
    if ((da < 0 && db > 0) || (da > 0 && db < 0)) out.push_back(a + (da / (da - db)) * (b - a));
  }
  return out;
}

// The side of the ego that the object has entered least deeply: at 10 Hz a fast object is metres inside at the first
// sample, so the middle of the overlap would mislead.
v1::EgoPart PartOf(const Box& ego, const Box& object) {
  std::vector<Vec2> overlap;  // ego's box frame: along its axis, to its left
  for (Vec2 c : object.Corners()) overlap.push_back({Dot(c - ego.centre, ego.axis), Cross(ego.axis, c - ego.centre)});
  overlap = Clip(overlap, {1, 0}, ego.half_length);
  overlap = Clip(overlap, {-1, 0}, ego.half_length);
  overlap = Clip(overlap, {0, 1}, ego.half_width);
  overlap = Clip(overlap, {0, -1}, ego.half_width);
  if (overlap.empty()) {  // they touch within rounding: the side that looks at the object
    overlap.push_back({Dot(object.centre - ego.centre, ego.axis), Cross(ego.axis, object.centre - ego.centre)});
  }
  Bounds b;
  for (Vec2 p : overlap) b.Add(p);
  v1::EgoPart part = v1::FRONT;
  double least = ego.half_length - b.x0;
  auto consider = [&](double depth, v1::EgoPart side) {
    if (depth < least) {
      least = depth;
      part = side;
    }
  };
  consider(b.x1 + ego.half_length, v1::REAR);
  consider(ego.half_width - b.y0, v1::LEFT);
  consider(b.y1 + ego.half_width, v1::RIGHT);
  return part;
}

void AddCollision(const PreparedScene& scene, const Motion& motion, const Contact& contact, v1::FailureFacts* facts) {
  const Observation& o = scene.observation();
  const Box ego = motion.EgoBox(contact.sample);
  const Box& box = o.box(contact.object, contact.sample);
  Vec2 place = scene.ToEgo(box.centre);
  v1::CollisionFact& fact = *facts->add_collisions();
  fact.set_object(o.info(contact.object).token);
  fact.set_type(o.info(contact.object).type);
  fact.set_time_s(TimeOf(contact.sample));
  fact.set_x(place.x);
  fact.set_y(place.y);
  fact.set_ego_part(contact.kind == ContactKind::kFront ? v1::FRONT : PartOf(ego, box));
  Vec2 between = box.centre - ego.centre;
  double distance = Norm(between);
  Vec2 relative = motion.vx[contact.sample] * ego.axis - o.velocity(contact.object, contact.sample);
  fact.set_closing_speed(distance > 0 ? Dot(relative, between) / distance : Norm(relative));
  fact.set_at_fault(contact.at_fault);
}

void AddOffRoad(const PreparedScene& scene, const Motion& motion, const Trace& trace, v1::FailureFacts* facts) {
  v1::OffRoadFact& fact = *facts->mutable_off_road();
  bool first = true;
  double overshoot = 0;
  for (int t = 0; t < kSamples; ++t) {
    if ((trace.areas.flags[t] & kOff) == 0) continue;
    auto corners = motion.EgoBox(t).Corners();
    int farthest = 0;
    double most = -1;
    for (int c = 0; c < 4; ++c) {
      double d = scene.map().DistanceToDrivable(corners[c]);
      if (d > most) {
        most = d;
        farthest = c;
      }
    }
    if (first) {
      Vec2 place = scene.ToEgo(corners[farthest]);
      fact.set_time_s(TimeOf(t));
      fact.set_x(place.x);
      fact.set_y(place.y);
      fact.set_side(farthest < 2 ? v1::LEFT : v1::RIGHT);
      first = false;
    }
    overshoot = std::max(overshoot, most);
  }
  fact.set_overshoot(overshoot);
}

// What only some scores lose points by; computed again, since few candidates do.
void AddLaneFacts(const PreparedScene& scene, const Motion& motion, const Metrics& metrics, const Trace& trace,
                  v1::FailureFacts* facts) {
  if (metrics.ddc < 1) {
    const Backwards back = DrivenBackwards(motion, trace.areas, scene.rules());
    facts->mutable_direction()->set_time_s(TimeOf(back.sample));
    facts->mutable_direction()->set_distance(back.distance);
  }
  if (metrics.tlc < 1) {
    const RedLights& lights = *scene.options().red_lights;
    const LightCrossed crossed = FirstRedLight(motion, lights);
    const Vec2 place = scene.ToEgo(motion.Centre(crossed.sample));
    v1::RedLightFact* fact = facts->mutable_red_light();
    fact->set_light(lights.tokens[crossed.light]);
    fact->set_time_s(TimeOf(crossed.sample));
    fact->set_x(place.x);
    fact->set_y(place.y);
  }
  if (metrics.lk < 1) {
    const int lost = LaneLost(motion, scene.map(), trace.areas);
    double offset = 0;
    for (int t = 0; t <= lost; ++t) {
      if (trace.areas.crossing[t]) continue;
      offset = std::max(offset, scene.map().centreline().Project(motion.Centre(t)).distance);
    }
    facts->mutable_lane()->set_time_s(TimeOf(lost));
    facts->mutable_lane()->set_offset(offset);
  }
}

}  // namespace

void MakeFacts(const PreparedScene& scene, const Motion& motion, const Metrics& metrics, const Trace& trace,
               v1::FailureFacts* facts) {
  std::vector<Contact> contacts = trace.contacts;
  std::sort(contacts.begin(), contacts.end(), [](const Contact& a, const Contact& b) {
    if (a.at_fault != b.at_fault) return a.at_fault;
    return a.sample != b.sample ? a.sample < b.sample : a.object < b.object;
  });
  for (const Contact& c : contacts) AddCollision(scene, motion, c, facts);
  if (metrics.dac == 0) AddOffRoad(scene, motion, trace, facts);
  if (trace.ttc_sample >= 0) {
    const ObjectInfo& object = scene.observation().info(trace.ttc_object);
    v1::TtcFact* ttc = facts->mutable_ttc();
    ttc->set_object(object.token);
    ttc->set_type(object.type);
    ttc->set_time_s(TimeOf(trace.ttc_sample));
    ttc->set_lookahead_s(TimeOf(trace.ttc_lookahead));
  }
  AddLaneFacts(scene, motion, metrics, trace, facts);
  facts->mutable_progress()->set_candidate(metrics.progress);
  facts->mutable_progress()->set_reference(scene.reference().progress);
  for (int i = 0; i < kComfortLimits; ++i) {
    if (trace.comfort.holds[i]) continue;
    const ComfortBounds& bounds = BoundsOf(static_cast<ComfortLimit>(i));
    const ComfortPeak& peak = trace.comfort.peak[i];
    v1::ComfortFact* fact = facts->add_comfort();
    fact->set_limit(bounds.name);
    fact->set_time_s(TimeOf(peak.sample));
    fact->set_value(peak.value);
    fact->set_bound(peak.value >= bounds.high ? bounds.high : bounds.low);
  }
}

}  // namespace swerve::pdm
