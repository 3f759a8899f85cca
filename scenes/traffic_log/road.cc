#include "scenes/traffic_log/road.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "absl/strings/match.h"
#include "scenes/traffic_log/geos.h"

namespace swerve {
namespace {

constexpr double kSpacing = 2.0;          // m between baseline points
constexpr double kJoin = 1.5;             // m between lane ends that count as linked
constexpr double kJoinAngle = 35 * std::numbers::pi / 180;
constexpr double kLaneHalf = 1.75;        // m where nothing is recorded
constexpr double kOnLane = 2.5;           // m from a baseline
constexpr double kOffRoute = 3.0;         // m mean distance from which a trajectory follows no lane
constexpr int kMaxChains = 400;

Path Resample(const std::vector<Vec2>& points) {
  Path fine(points);
  if (fine.empty()) return fine;
  int n = std::max(1, static_cast<int>(std::ceil(fine.length() / kSpacing)));
  std::vector<Vec2> out;
  for (int i = 0; i <= n; ++i) out.push_back(fine.At(fine.length() * i / n));
  return Path(std::move(out));
}

double HeadingAt(const Path& p, bool end) {
  const auto& q = p.points();
  const Vec2 a = end ? q[q.size() - 2] : q[0], b = end ? q.back() : q[1];
  return std::atan2(b.y - a.y, b.x - a.x);
}

bool Overlaps(const std::vector<Vec2>& points, const Road::Bounds& b) {
  double x0 = 1e300, y0 = 1e300, x1 = -1e300, y1 = -1e300;
  for (const Vec2& p : points) {
    x0 = std::min(x0, p.x);
    x1 = std::max(x1, p.x);
    y0 = std::min(y0, p.y);
    y1 = std::max(y1, p.y);
  }
  return x1 > b.x0 && x0 < b.x1 && y1 > b.y0 && y0 < b.y1;
}

void FillRing(const std::vector<Vec2>& points, v1::Ring* ring) {
  for (const Vec2& p : points) {
    ring->add_xy(p.x);
    ring->add_xy(p.y);
  }
}

}  // namespace

struct Road::Geometry {
  Geos geos;
  Geos::Shape drivable{nullptr, {nullptr}};
};

Road::Road(const Recording&) : geometry_(std::make_unique<Geometry>()) {}
Road::~Road() = default;

absl::StatusOr<std::unique_ptr<Road>> Road::Build(const Recording& recording) {
  std::unique_ptr<Road> road(new Road(recording));
  const Geos& geos = road->geometry_->geos;
  const bool ngsim = recording.source == "commonroad_ngsim";
  const bool nuscenes = absl::StartsWith(recording.source, "nuscenes");
  std::vector<Geos::Shape> parts;
  for (const LogLane& log : recording.lanes) {
    RoadLane lane{&log, Resample(log.centerline), log.polygon};
    if (lane.baseline.empty()) continue;
    Geos::Shape line = geos.Line(lane.baseline.points());
    if (ngsim) {
      parts.push_back(geos.Buffer(geos.Polygon(log.polygon).get(), 0.5, GEOSBUF_CAP_ROUND, GEOSBUF_JOIN_MITRE));
    } else {
      parts.push_back(geos.Buffer(line.get(), nuscenes ? 2.5 : 3.0));
      if (nuscenes && log.polygon.size() >= 3) parts.push_back(geos.Polygon(log.polygon));
    }
    lane.connector = nuscenes && log.polygon.empty();
    if (log.bicycle) continue;  // drivable, but no lane of ours
    if (lane.polygon.size() < 3) {
      double half = log.half_width > 0 ? std::clamp(log.half_width, 1.3, 2.9) : kLaneHalf;
      Geos::Shape strip = geos.Buffer(line.get(), half, GEOSBUF_CAP_FLAT);
      geos.ForEachPolygon(strip.get(), [&](const std::vector<Vec2>& ring, const auto&) {
        if (ring.size() > lane.polygon.size()) lane.polygon = ring;
      });
    }
    road->by_id_.try_emplace(log.id, static_cast<int>(road->lanes_.size()));
    road->lanes_.push_back(std::move(lane));
  }
  if (road->lanes_.empty()) return absl::InvalidArgumentError("the map has no usable lane");
  road->geometry_->drivable = geos.Simplify(geos.Union(std::move(parts)).get(), 0.02);
  if (!road->geometry_->drivable) return absl::InvalidArgumentError("the lanes make no drivable area");
  road->Link(recording);
  road->GroupIntoBlocks();
  return road;
}

void Road::Link(const Recording&) {
  bool any = false;
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i) {
    auto link = [&](const std::string& id, bool forward) {
      auto it = by_id_.find(id);
      if (it == by_id_.end() || it->second == i) return;
      any = true;
      int from = forward ? i : it->second, to = forward ? it->second : i;
      auto& out = lanes_[from].outgoing;
      if (std::find(out.begin(), out.end(), to) != out.end()) return;
      out.push_back(to);
      lanes_[to].incoming.push_back(from);
    };
    for (const std::string& id : lanes_[i].log->successors) link(id, true);
    for (const std::string& id : lanes_[i].log->predecessors) link(id, false);
  }
  if (!any) LinkByGeometry();
}

void Road::LinkByGeometry() {
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i)
    for (int j = 0; j < static_cast<int>(lanes_.size()); ++j) {
      if (i == j) continue;
      Vec2 end = lanes_[i].baseline.points().back(), start = lanes_[j].baseline.points().front();
      if (std::hypot(end.x - start.x, end.y - start.y) > kJoin) continue;
      double turn = WrapAngle(HeadingAt(lanes_[j].baseline, false) - HeadingAt(lanes_[i].baseline, true));
      if (std::abs(turn) > kJoinAngle) continue;
      lanes_[i].outgoing.push_back(j);
      lanes_[j].incoming.push_back(i);
    }
}

void Road::GroupIntoBlocks() {
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i) lanes_[i].block = i;
  auto root = [&](int i) {
    while (lanes_[i].block != i) i = lanes_[i].block;
    return i;
  };
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i)
    for (const std::string& id : lanes_[i].log->beside)
      if (auto it = by_id_.find(id); it != by_id_.end()) {
        int a = root(i), b = root(it->second);
        lanes_[std::max(a, b)].block = std::min(a, b);
      }
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i) lanes_[i].block = root(i);
}

void Road::Extend(std::vector<int>* chain, double length) const {
  while (length > 0) {
    const RoadLane& last = lanes_[chain->back()];
    int best = -1;
    double best_turn = std::numeric_limits<double>::infinity();
    for (int next : last.outgoing) {
      if (std::find(chain->begin(), chain->end(), next) != chain->end()) continue;
      // Straightest: the turn over the whole next lane.
      double turn = std::abs(WrapAngle(HeadingAt(lanes_[next].baseline, true) - HeadingAt(last.baseline, true)));
      if (turn < best_turn) {
        best_turn = turn;
        best = next;
      }
    }
    if (best < 0) return;
    chain->push_back(best);
    length -= lanes_[best].baseline.length();
  }
}

std::vector<std::string> Road::RouteOf(absl::Span<const Vec2> trajectory, double heading, double beyond) const {
  if (trajectory.empty()) return {};
  double travelled = 0;
  for (size_t i = 1; i < trajectory.size(); ++i)
    travelled += std::hypot(trajectory[i].x - trajectory[i - 1].x, trajectory[i].y - trajectory[i - 1].y);
  // All chains from the lanes under the ego, breadth first, long enough for the trajectory.
  struct Chain {
    std::vector<int> lanes;
    double left;  // m still to cover
  };
  std::vector<Chain> open, done;
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i) {
    Path::Projection p = lanes_[i].baseline.Project(trajectory[0]);
    if (std::abs(p.d) > kOnLane || std::abs(WrapAngle(p.heading - heading)) > std::numbers::pi / 4) continue;
    open.push_back({{i}, travelled + 1.0 - (lanes_[i].baseline.length() - p.s)});
  }
  for (size_t k = 0; k < open.size() && open.size() + done.size() < kMaxChains; ++k) {
    Chain c = open[k];
    bool extended = false;
    for (int next : lanes_[c.lanes.back()].outgoing) {
      if (c.left <= 0 || std::find(c.lanes.begin(), c.lanes.end(), next) != c.lanes.end()) continue;
      Chain longer = c;
      longer.lanes.push_back(next);
      longer.left -= lanes_[next].baseline.length();
      open.push_back(std::move(longer));
      extended = true;
    }
    if (!extended) done.push_back(std::move(c));
  }
  const Chain* best = nullptr;
  double best_error = kOffRoute;
  for (const Chain& c : done) {
    std::vector<Vec2> line;
    for (int i : c.lanes) line.insert(line.end(), lanes_[i].baseline.points().begin(), lanes_[i].baseline.points().end());
    Path path(std::move(line));
    double error = 0;
    for (const Vec2& p : trajectory) error += std::abs(path.Project(p).d) / trajectory.size();
    if (error < best_error) {
      best_error = error;
      best = &c;
    }
  }
  if (!best) return {};
  std::vector<int> chain = best->lanes;
  Extend(&chain, beyond + best->left);
  std::vector<std::string> blocks;
  for (int i : chain)
    if (std::string id = absl::StrCat("block_", lanes_[lanes_[i].block].log->id); blocks.empty() || blocks.back() != id)
      blocks.push_back(std::move(id));
  return blocks;
}

void Road::FillMap(const Bounds& bounds, v1::SceneMap* map) const {
  const Geos& geos = geometry_->geos;
  Geos::Shape clipped = geos.ClipToBox(geometry_->drivable.get(), bounds.x0, bounds.y0, bounds.x1, bounds.y1);
  int n = 0;
  geos.ForEachPolygon(clipped.get(), [&](const std::vector<Vec2>& ring, const std::vector<std::vector<Vec2>>& holes) {
    auto* p = map->add_polygons();
    p->set_token(absl::StrCat("drivable_", n++));
    p->set_type(v1::DRIVABLE_AREA);
    FillRing(ring, p->mutable_exterior());
    for (const auto& hole : holes) FillRing(hole, p->add_interiors());
  });
  std::vector<int> inside;
  for (int i = 0; i < static_cast<int>(lanes_.size()); ++i)
    if (Overlaps(lanes_[i].polygon, bounds)) inside.push_back(i);
  for (int i : inside) {
    const RoadLane& lane = lanes_[i];
    auto* p = map->add_polygons();
    p->set_token(lane.log->id);
    p->set_type(lane.connector ? v1::LANE_CONNECTOR : v1::LANE);
    FillRing(lane.polygon, p->mutable_exterior());
    auto* out = map->add_lanes();
    out->set_id(lane.log->id);
    out->set_roadblock(absl::StrCat("block_", lanes_[lane.block].log->id));
    if (lane.log->speed_limit) out->set_speed_limit(*lane.log->speed_limit);
    const auto& q = lane.baseline.points();
    for (size_t k = 0; k < q.size(); ++k) {
      size_t a = k + 1 < q.size() ? k : k - 1;
      auto* pose = out->add_baseline();
      pose->set_x(q[k].x);
      pose->set_y(q[k].y);
      pose->set_heading(std::atan2(q[a + 1].y - q[a].y, q[a + 1].x - q[a].x));
    }
    for (int k : lane.incoming)
      if (std::binary_search(inside.begin(), inside.end(), k)) out->add_incoming(lanes_[k].log->id);
    for (int k : lane.outgoing)
      if (std::binary_search(inside.begin(), inside.end(), k)) out->add_outgoing(lanes_[k].log->id);
  }
  FillBlocks(inside, map);
}

void Road::FillBlocks(const std::vector<int>& lanes, v1::SceneMap* map) const {
  for (int block : lanes) {
    // The block's first lane may lie outside; every block is named once, at the first of its lanes inside.
    int first = *std::find_if(lanes.begin(), lanes.end(), [&](int i) { return lanes_[i].block == lanes_[block].block; });
    if (first != block) continue;
    auto* out = map->add_roadblocks();
    auto name = [&](int i) { return absl::StrCat("block_", lanes_[lanes_[i].block].log->id); };
    out->set_id(name(block));
    auto add = [&](int i, auto* list) {
      std::string id = name(i);
      if (lanes_[i].block != lanes_[block].block && std::binary_search(lanes.begin(), lanes.end(), i) &&
          std::find(list->begin(), list->end(), id) == list->end())
        *list->Add() = id;
    };
    for (int i : lanes) {
      if (lanes_[i].block != lanes_[block].block) continue;
      for (int k : lanes_[i].incoming) add(k, out->mutable_incoming());
      for (int k : lanes_[i].outgoing) add(k, out->mutable_outgoing());
    }
  }
}

}  // namespace swerve
