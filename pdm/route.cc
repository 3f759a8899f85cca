#include "pdm/route.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <numbers>

#include "absl/strings/str_cat.h"

namespace swerve::pdm {
namespace {

constexpr int kBackwardDepth = 15, kForwardDepth = 30, kWindow = 30;
constexpr double kNearLane = 3.0;                          // m
constexpr double kAligned = std::numbers::pi / 4;          // rad
constexpr double kLoopArea = 1.0;                          // m^2

// Nearest baseline vertex: its distance and heading error.
struct Fit {
  double distance = std::numeric_limits<double>::infinity();
  double heading_error = std::numbers::pi;
};
Fit FitLane(const LaneGraph::LaneInfo& lane, const EgoRow& ego) {
  Fit fit;
  for (const Pose2& p : lane.baseline) {
    const double d = Norm(Vec2{p.x - ego.x, p.y - ego.y});
    if (d < fit.distance) fit = {d, std::fabs(WrapAngle(p.heading - ego.heading))};
  }
  return fit;
}

double PolygonBoxDistance(const Polygon& polygon, const Box& box) {
  if (polygon.Intersects(box)) return 0;
  double best = std::numeric_limits<double>::infinity();
  const auto corners = box.Corners();
  for (const Vec2& c : corners) best = std::min(best, polygon.BoundaryDistance(c));
  for (const auto& ring : polygon.rings()) {
    for (const Vec2& p : ring) {
      for (int i = 0; i < 4; ++i) best = std::min(best, DistanceToSegment(p, corners[i], corners[(i + 1) % 4]));
    }
  }
  return best;
}

class RouteFinder {
 public:
  RouteFinder(const LaneGraph& graph, const EgoRow& ego) : graph_(graph), ego_(ego) {}

  absl::StatusOr<Route> Run() {
    for (const std::string& id : graph_.scene().route_roadblock_ids()) {
      if (graph_.FindBlock(id) >= 0 && std::find(blocks_.begin(), blocks_.end(), id) == blocks_.end()) blocks_.push_back(id);
    }
    if (blocks_.empty()) {
      return absl::InvalidArgumentError("scene.route_roadblock_ids: names no roadblock of scene.map; the importer must set the route");
    }
    ReachStart();
    FillGaps();
    CutLoops();
    Route route;
    for (const std::string& id : blocks_) {
      for (int lane : graph_.blocks()[graph_.FindBlock(id)].lanes) {
        lanes_.push_back(lane);
        route.lane_ids.push_back(graph_.lanes()[lane].lane->id());
      }
    }
    if (lanes_.empty()) return absl::InvalidArgumentError("scene.map.lanes: no lane belongs to a roadblock of the route");
    route.blocks = blocks_;
    route.starting_lane = StartingLane();
    if (route.starting_lane < 0) return absl::InvalidArgumentError("scene.map.lanes: no lane of the route is near the ego");
    route.centerline = Centerline(route.starting_lane);
    return route;
  }

 private:
  const LaneGraph::Block& BlockOf(const std::string& id) const { return graph_.blocks()[graph_.FindBlock(id)]; }
  bool OnRoute(const std::string& id) const { return std::find(blocks_.begin(), blocks_.end(), id) != blocks_.end(); }

  // Blocks the ego may be on, best first member separately.
  std::pair<std::string, std::vector<std::string>> StartCandidates() const {
    const Box near{{ego_.x, ego_.y}, {1, 0}, 1.0, 1.0};
    std::vector<int> around;
    for (bool connector : {false, true}) {
      for (size_t i = 0; i < graph_.blocks().size(); ++i) {
        if (graph_.blocks()[i].connector == connector && graph_.Touches(graph_.blocks()[i], near)) around.push_back(i);
      }
    }
    if (around.empty()) {
      for (bool connector : {false, true}) {
        int best = -1;
        double distance = std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < graph_.blocks().size(); ++i) {
          if (graph_.blocks()[i].connector != connector) continue;
          const double d = graph_.Distance(graph_.blocks()[i], {ego_.x, ego_.y});
          if (d < distance) distance = d, best = static_cast<int>(i);
        }
        if (best >= 0) around.push_back(best);
      }
    }
    std::vector<std::pair<double, std::string>> on_route, off_route, all;
    for (int i : around) {
      double nearest = std::numeric_limits<double>::infinity();
      for (int lane : graph_.blocks()[i].lanes) {
        const Fit fit = FitLane(graph_.lanes()[lane], ego_);
        nearest = std::min(nearest, fit.distance);
        if (fit.heading_error >= kAligned || fit.distance >= kNearLane) continue;
        (OnRoute(graph_.blocks()[i].id) ? on_route : off_route).emplace_back(fit.distance, graph_.blocks()[i].id);
      }
      all.emplace_back(nearest, graph_.blocks()[i].id);
    }
    const auto& chosen = !on_route.empty() ? on_route : !off_route.empty() ? off_route : all;
    if (chosen.empty()) return {};
    auto first = std::min_element(chosen.begin(), chosen.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> ids;
    for (const auto& [distance, id] : chosen) ids.push_back(id);
    return {first->second, ids};
  }

  // Shortest chain of blocks from `from` to any of `targets`, both included; empty: none within `depth`.
  std::vector<std::string> Search(const std::string& from, const std::vector<std::string>& targets, int depth, bool forward) const {
    std::map<std::string, std::string> parent{{from, ""}};
    std::deque<std::pair<std::string, int>> queue{{from, 1}};
    while (!queue.empty()) {
      auto [id, level] = queue.front();
      queue.pop_front();
      if (std::find(targets.begin(), targets.end(), id) != targets.end()) {
        std::vector<std::string> path;
        for (std::string at = id; !at.empty(); at = parent[at]) path.push_back(at);
        if (forward) std::reverse(path.begin(), path.end());
        return path;
      }
      if (level > depth || graph_.FindBlock(id) < 0) continue;
      const LaneGraph::Block& block = BlockOf(id);
      for (const std::string& next : forward ? block.outgoing : block.incoming) {
        if (graph_.FindBlock(next) >= 0 && parent.emplace(next, id).second) queue.emplace_back(next, level + 1);
      }
    }
    return {};
  }

  void ReachStart() {
    auto [start, candidates] = StartCandidates();
    if (start.empty() || OnRoute(start)) return;
    std::vector<std::string> path = Search(blocks_.front(), candidates, kBackwardDepth, false);
    if (!path.empty()) {
      blocks_.insert(blocks_.begin(), path.begin(), path.end() - 1);
      return;
    }
    const std::vector<std::string> first(blocks_.begin(), blocks_.begin() + std::min<size_t>(3, blocks_.size()));
    path = Search(start, first, kForwardDepth, true);
    if (path.empty()) return;
    blocks_.erase(blocks_.begin(), std::find(blocks_.begin(), blocks_.end(), path.back()) + 1);
    blocks_.insert(blocks_.begin(), path.begin(), path.end());
  }

  void FillGaps() {
    std::vector<std::string> filled;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      filled.push_back(blocks_[i]);
      if (i + 1 == blocks_.size()) break;
      const auto& incoming = BlockOf(blocks_[i + 1]).incoming;
      if (std::find(incoming.begin(), incoming.end(), blocks_[i]) != incoming.end()) continue;
      const std::vector<std::string> path = Search(blocks_[i], {blocks_[i + 1]}, kForwardDepth, true);
      if (path.size() >= 3) filled.insert(filled.end(), path.begin() + 1, path.end() - 1);
    }
    blocks_ = filled;
  }

  void CutLoops();
  int StartingLane() const;
  std::vector<Pose2> Centerline(int start) const;

  const LaneGraph& graph_;
  const EgoRow& ego_;
  std::vector<std::string> blocks_;
  std::vector<int> lanes_;
};

// Area shared by two polygons, counted on a grid.
double SharedArea(const Polygon& a, const Polygon& b) {
  if (!a.bounds().Overlaps(b.bounds()) || !a.Intersects(b)) return 0;
  const Bounds &p = a.bounds(), &q = b.bounds();
  const double x0 = std::max(p.x0, q.x0), x1 = std::min(p.x1, q.x1), y0 = std::max(p.y0, q.y0), y1 = std::min(p.y1, q.y1);
  // A grid is enough to tell more than one square metre from less: overlaps of connectors are lanes wide or slivers.
  constexpr double kCell = 0.1;
  double area = 0;
  for (double x = x0 + kCell / 2; x < x1; x += kCell) {
    for (double y = y0 + kCell / 2; y < y1; y += kCell) {
      if (a.Contains({x, y}) && b.Contains({x, y})) area += kCell * kCell;
      if (area > 2 * kLoopArea) return area;
    }
  }
  return area;
}

void RouteFinder::CutLoops() {
  std::vector<int> connectors;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int block = graph_.FindBlock(blocks_[i]);
    if (!graph_.blocks()[block].connector) continue;
    for (int earlier : connectors) {
      for (const Polygon& a : graph_.blocks()[block].polygons) {
        for (const Polygon& b : graph_.blocks()[earlier].polygons) {
          if (SharedArea(a, b) <= kLoopArea) continue;
          blocks_.resize(i);
          return;
        }
      }
    }
    connectors.push_back(block);
  }
}

int RouteFinder::StartingLane() const {
  int best = -1;
  double error = std::numeric_limits<double>::infinity();
  const Box point{{ego_.x, ego_.y}, {1, 0}, 0, 0};
  for (int lane : lanes_) {
    if (!graph_.lanes()[lane].has_polygon || !graph_.lanes()[lane].polygon.Intersects(point)) continue;
    const double e = FitLane(graph_.lanes()[lane], ego_).heading_error;
    if (e < error) error = e, best = lane;
  }
  if (best >= 0) return best;
  const Box ego = EgoBox(ego_.x, ego_.y, Direction(ego_.heading));
  double distance = std::numeric_limits<double>::infinity();
  for (int lane : lanes_) {
    const LaneGraph::LaneInfo& info = graph_.lanes()[lane];
    if (info.has_polygon && info.polygon.Contains(ego.centre)) return lane;
    const double d = info.has_polygon ? PolygonBoxDistance(info.polygon, ego) : FitLane(info, ego_).distance;
    if (d < distance) distance = d, best = lane;
  }
  return best;
}

std::vector<Pose2> RouteFinder::Centerline(int start) const {
  const auto& lanes = graph_.lanes();
  const auto at = std::find(blocks_.begin(), blocks_.end(), lanes[start].lane->roadblock());
  const size_t from = at == blocks_.end() ? 0 : at - blocks_.begin();
  const std::string& target = blocks_[std::min(from + kWindow, blocks_.size()) - 1];
  const std::set<int> allowed(lanes_.begin(), lanes_.end());
  struct Node {
    int lane;
    double cost;
    int depth;
  };
  std::vector<Node> frontier{{start, 1.0, 1}}, expanded;
  std::map<int, int> parent;
  int goal = -1;
  while (!frontier.empty()) {
    auto next = std::min_element(frontier.begin(), frontier.end(), [](const Node& a, const Node& b) { return a.cost < b.cost; });
    const Node node = *next;
    frontier.erase(next);
    expanded.push_back(node);
    if (lanes[node.lane].lane->roadblock() == target) {
      goal = node.lane;
      break;
    }
    for (const std::string& id : lanes[node.lane].lane->outgoing()) {
      const int lane = graph_.FindLane(id);
      if (lane < 0 || !allowed.count(lane)) continue;
      const double cost = node.cost + lanes[lane].length;
      if (std::any_of(expanded.begin(), expanded.end(), [&](const Node& n) { return n.lane == lane; })) continue;
      auto known = std::find_if(frontier.begin(), frontier.end(), [&](const Node& n) { return n.lane == lane; });
      if (known == frontier.end()) {
        frontier.push_back({lane, cost, node.depth + 1});
        parent[lane] = node.lane;
      } else if (cost < known->cost) {
        *known = {lane, cost, node.depth + 1};
        parent[lane] = node.lane;
      }
    }
  }
  if (goal < 0) {
    const Node* deepest = &expanded.front();
    for (const Node& n : expanded) {
      if (n.depth > deepest->depth || (n.depth == deepest->depth && n.cost < deepest->cost)) deepest = &n;
    }
    goal = deepest->lane;
  }
  std::vector<int> chain;
  for (int lane = goal;; lane = parent[lane]) {
    chain.push_back(lane);
    if (lane == start || !parent.count(lane)) break;
  }
  std::vector<Pose2> line;
  for (size_t i = chain.size(); i-- > 0;) line.insert(line.end(), lanes[chain[i]].baseline.begin(), lanes[chain[i]].baseline.end());
  return line;
}

}  // namespace

std::vector<Vec2> LocalRing(const v1::Ring& ring, Vec2 origin) {
  std::vector<Vec2> out;
  out.reserve(ring.xy_size() / 2);
  for (int i = 0; i + 1 < ring.xy_size(); i += 2) out.push_back({ring.xy(i) - origin.x, ring.xy(i + 1) - origin.y});
  return out;
}

Polygon LocalPolygon(const v1::MapPolygon& polygon, Vec2 origin) {
  std::vector<std::vector<Vec2>> rings{LocalRing(polygon.exterior(), origin)};
  for (const v1::Ring& ring : polygon.interiors()) rings.push_back(LocalRing(ring, origin));
  return Polygon(std::move(rings));
}

LaneGraph::LaneGraph(const v1::Scene& scene, Vec2 origin) : scene_(scene), origin_(origin) {
  std::map<std::string, std::vector<const v1::MapPolygon*>> polygons;
  for (const v1::MapPolygon& p : scene.map().polygons()) polygons[p.token()].push_back(&p);
  for (const v1::Lane& lane : scene.map().lanes()) {
    LaneInfo info;
    info.lane = &lane;
    for (const v1::Pose& p : lane.baseline()) {
      info.baseline.push_back({p.x() - origin.x, p.y() - origin.y, p.heading()});
      const size_t n = info.baseline.size();
      if (n > 1) info.length += Norm(Vec2{info.baseline[n - 1].x - info.baseline[n - 2].x, info.baseline[n - 1].y - info.baseline[n - 2].y});
    }
    for (const v1::MapPolygon* p : polygons[lane.id()]) {
      if (p->type() != v1::LANE && p->type() != v1::LANE_CONNECTOR) continue;
      info.polygon = LocalPolygon(*p, origin);
      info.has_polygon = true;
    }
    if (info.baseline.size() < 2) continue;
    lane_index_.emplace(lane.id(), static_cast<int>(lanes_.size()));
    lanes_.push_back(std::move(info));
  }
  auto block_of = [&](const std::string& id) -> Block& {
    auto [it, fresh] = block_index_.emplace(id, static_cast<int>(blocks_.size()));
    if (fresh) blocks_.emplace_back().id = id;
    return blocks_[it->second];
  };
  for (const v1::Roadblock& b : scene.map().roadblocks()) {
    Block& block = block_of(b.id());
    block.incoming.assign(b.incoming().begin(), b.incoming().end());
    block.outgoing.assign(b.outgoing().begin(), b.outgoing().end());
  }
  for (size_t i = 0; i < lanes_.size(); ++i) block_of(lanes_[i].lane->roadblock()).lanes.push_back(static_cast<int>(i));
  for (Block& block : blocks_) {
    for (const v1::MapPolygon* p : polygons[block.id]) {
      if (p->type() != v1::ROADBLOCK && p->type() != v1::ROADBLOCK_CONNECTOR) continue;
      block.connector = p->type() == v1::ROADBLOCK_CONNECTOR;
      block.polygons.push_back(LocalPolygon(*p, origin));
    }
    if (!block.polygons.empty()) continue;
    for (int lane : block.lanes) {
      for (const v1::MapPolygon* p : polygons[lanes_[lane].lane->id()]) block.connector |= p->type() == v1::LANE_CONNECTOR;
      if (lanes_[lane].has_polygon) block.polygons.push_back(lanes_[lane].polygon);
    }
  }
}

int LaneGraph::FindLane(const std::string& id) const {
  auto it = lane_index_.find(id);
  return it == lane_index_.end() ? -1 : it->second;
}

int LaneGraph::FindBlock(const std::string& id) const {
  auto it = block_index_.find(id);
  return it == block_index_.end() ? -1 : it->second;
}

bool LaneGraph::Touches(const Block& block, const Box& box) const {
  return std::any_of(block.polygons.begin(), block.polygons.end(), [&](const Polygon& p) { return p.Intersects(box); });
}

double LaneGraph::Distance(const Block& block, Vec2 p) const {
  double best = std::numeric_limits<double>::infinity();
  for (const Polygon& polygon : block.polygons) best = std::min(best, polygon.Contains(p) ? 0.0 : polygon.BoundaryDistance(p));
  return best;
}

absl::StatusOr<Route> FindRoute(const LaneGraph& graph, const EgoRow& ego) { return RouteFinder(graph, ego).Run(); }

}  // namespace swerve::pdm
