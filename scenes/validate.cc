#include "scenes/validate.h"

#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

class Checker {
 public:
  explicit Checker(const v1::Scene& scene) : s_(scene) {}

  std::vector<std::string> Run() {
    Need(!s_.id().empty(), "id", "is empty");
    Need(!s_.family().empty(), "family", "is empty");
    Need(!s_.location().empty() || !s_.recording().empty(), "location", "and recording are empty: it cannot be split");
    Need(!s_.source().empty(), "source", "is empty");
    Need(!s_.license().empty(), "license", "is empty");
    Need(s_.label() != v1::SAMPLE_LABEL_UNSPECIFIED, "label", "is not set");
    Need(s_.command() != v1::NAVIGATION_COMMAND_UNSPECIFIED, "command", "is not set");
    Ego();
    Poses("gt", s_.gt(), 8, true);
    Poses("human", s_.human(), 8, false);
    for (int i = 0; i < s_.candidates_size(); ++i) Finite(absl::StrCat("candidates[", i, "]"), s_.candidates(i).poses());
    Tracks("tracks", s_.tracks(), 0, 10);
    Tracks("past_tracks", s_.past_tracks(), -3, 0);
    Need(s_.traffic_lights_size() == 0 || s_.traffic_lights_size() == 11, "traffic_lights",
         absl::StrCat("holds ", s_.traffic_lights_size(), " frames, not 0 or 11"));
    Map();
    Need(s_.has_resolved_v1(), "resolved_v1", "is missing: the scene cannot be scored");
    if (s_.has_resolved_v1()) Resolved();
    return std::move(problems_);
  }

 private:
  void Need(bool ok, absl::string_view field, absl::string_view what) {
    if (!ok && problems_.size() < 50) problems_.push_back(absl::StrCat(field, ": ", what));
  }
  bool IsFinite(const v1::Pose& p) { return std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading()); }
  template <typename L>
  void Finite(absl::string_view field, const L& poses) {
    for (int i = 0; i < poses.size(); ++i)
      Need(IsFinite(poses[i]), absl::StrCat(field, "[", i, "]"), "is not finite");
  }
  template <typename L>
  void Poses(absl::string_view field, const L& poses, int count, bool required) {
    Need(poses.size() == count || (!required && poses.empty()), field,
         absl::StrCat("holds ", poses.size(), " poses, not ", count));
    Finite(field, poses);
  }
  void State(absl::string_view field, const v1::EgoState& e) {
    Need(IsFinite(e.rear_axle()), absl::StrCat(field, ".rear_axle"), "is not finite");
    const double all[] = {e.vx(), e.vy(), e.ax(), e.ay(), e.steering_angle(), e.steering_rate(), e.yaw_rate(), e.yaw_acceleration()};
    for (double v : all) Need(std::isfinite(v), field, "holds a number that is not finite");
    Need(std::abs(e.vx()) < 70, absl::StrCat(field, ".vx"), absl::StrCat(e.vx(), " m/s is no car's speed"));
  }
  void Ego() {
    Need(s_.has_ego(), "ego", "is missing");
    State("ego", s_.ego());
    int64_t last = INT64_MIN;
    for (int i = 0; i < s_.ego_past_size(); ++i) {
      std::string field = absl::StrCat("ego_past[", i, "]");
      State(field, s_.ego_past(i));
      Need(s_.ego_past(i).time_us() > last && s_.ego_past(i).time_us() < s_.ego().time_us(), field,
           "is not in order of time before ego");
      last = s_.ego_past(i).time_us();
    }
    Need(s_.ego_past_size() >= 3, "ego_past", absl::StrCat("holds ", s_.ego_past_size(), " states, the prompt wants 3"));
  }
  void Tracks(absl::string_view field, const google::protobuf::RepeatedPtrField<v1::Track>& tracks, int first, int last) {
    absl::flat_hash_set<std::string> tokens;
    for (int i = 0; i < tracks.size(); ++i) {
      const v1::Track& t = tracks[i];
      std::string name = absl::StrCat(field, "[", i, "] ", t.token());
      Need(!t.token().empty() && tokens.insert(t.token()).second, name, "token is empty or repeated");
      Need(t.type() != v1::OBJECT_TYPE_UNSPECIFIED, name, "type is not set");
      Need(t.length() > 0 && t.width() > 0 && std::isfinite(t.length() + t.width()), name, "size is not positive");
      int before = first - 1;
      for (const v1::TrackState& st : t.states()) {
        Need(st.index() > before && st.index() <= last, name, absl::StrCat("index ", st.index(), " is out of range or order"));
        Need(std::isfinite(st.x() + st.y() + st.heading() + st.vx() + st.vy()), name, "a state is not finite");
        before = st.index();
      }
      Need(t.states_size() > 0, name, "has no states");
    }
  }
  void Polygons(absl::string_view field, const google::protobuf::RepeatedPtrField<v1::MapPolygon>& polygons) {
    for (int i = 0; i < polygons.size(); ++i) {
      const auto& xy = polygons[i].exterior().xy();
      std::string name = absl::StrCat(field, "[", i, "] ", polygons[i].token());
      Need(xy.size() >= 6 && xy.size() % 2 == 0, name, "exterior is no ring");
      for (double v : xy)
        if (!std::isfinite(v)) {
          Need(false, name, "is not finite");
          break;
        }
      Need(polygons[i].type() != v1::MAP_TYPE_UNSPECIFIED, name, "type is not set");
    }
  }
  void Map() {
    Polygons("map.polygons", s_.map().polygons());
    absl::flat_hash_set<std::string> lanes, blocks;
    for (const auto& l : s_.map().lanes()) Need(lanes.insert(l.id()).second, "map.lanes", absl::StrCat("id ", l.id(), " is repeated"));
    for (const auto& b : s_.map().roadblocks()) blocks.insert(b.id());
    for (const auto& l : s_.map().lanes()) {
      Need(l.baseline_size() >= 2, absl::StrCat("map.lanes ", l.id()), "baseline has less than two poses");
      Finite(absl::StrCat("map.lanes ", l.id()), l.baseline());
    }
    for (const std::string& id : s_.route_roadblock_ids())
      Need(blocks.contains(id) || blocks.empty(), "route_roadblock_ids", absl::StrCat(id, " is not in map.roadblocks"));
  }
  void Resolved() {
    const v1::ResolvedScene& r = s_.resolved_v1();
    Need(r.drivable_map_size() > 0, "resolved_v1.drivable_map", "is empty");
    Polygons("resolved_v1.drivable_map", r.drivable_map());
    Need(r.centerline_size() >= 2, "resolved_v1.centerline", "has less than two poses");
    Finite("resolved_v1.centerline", r.centerline());
    Poses("resolved_v1.pdm_reference", r.pdm_reference(), 51, true);
    Tracks("resolved_v1.agents", r.agents(), 0, 50);
  }

  const v1::Scene& s_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> ValidateScene(const v1::Scene& scene) { return Checker(scene).Run(); }

}  // namespace swerve
