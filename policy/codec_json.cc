#include "policy/codec_json.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "policy/codec_text.h"
#include "policy/trajectory.h"

namespace swerve {
namespace {

using codec::Fixed;
using codec::Tuple;
using Json = nlohmann::json;

std::optional<Tuple> Triple(const Json& json) {
  if (!json.is_array() || json.size() != 3) return std::nullopt;
  Tuple t{};
  for (size_t i = 0; i < 3; ++i) {
    if (!json[i].is_number()) return std::nullopt;
    t[i] = json[i].get<double>();
  }
  return t;
}

bool ReadList(const Json& list, std::vector<Tuple>* tuples) {
  for (const Json& item : list) {
    std::optional<Tuple> t = Triple(item);
    if (item.is_object()) {
      const auto label = item.find("label"), pose = item.find("x_y_radian");
      if (pose == item.end()) return false;
      if (label != item.end() && *label != absl::StrFormat("%.1fs", 0.5 * static_cast<double>(tuples->size() + 1))) return false;
      t = Triple(*pose);
    }
    if (!t) return false;
    tuples->push_back(*t);
  }
  return true;
}

bool ReadText(absl::string_view text, std::vector<Tuple>* tuples) {
  if (!absl::ConsumePrefix(&text, "[") || !absl::ConsumeSuffix(&text, "]")) return false;
  if (absl::ConsumePrefix(&text, "PT,")) absl::ConsumePrefix(&text, " ");
  return codec::StrictTuples(text, {'(', ')', 3, true, true}, tuples);
}

// False unless the text is a whole JSON document that says a trajectory.
bool Read(absl::string_view text, std::vector<Tuple>* tuples) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_array()) return ReadList(json, tuples);
  if (!json.is_object()) return false;
  for (const char* key : {"future_trajectory", "planning"}) {
    const auto it = json.find(key);
    if (it == json.end()) continue;
    if (it->is_string()) return ReadText(it->get_ref<const std::string&>(), tuples);
    return it->is_array() && ReadList(*it, tuples);
  }
  return false;
}

class JsonTrajectory final : public Codec {
 public:
  absl::string_view name() const override { return "json_traj"; }
  absl::string_view Ask() const override {
    return "answer with a json object whose future_trajectory is \"[PT, (+x, +y, +heading), ...]\", 8 poses, one every 0.5 s, x forward and "
           "y left in metres, heading in radians.";
  }

  Parsed Parse(absl::string_view text) const override {
    codec::Section section = codec::FindAnswer(text);
    constexpr absl::string_view kOpen = "<planning>", kClose = "</planning>";
    if (const size_t open = section.body.rfind(kOpen); open != absl::string_view::npos) {
      section.body.remove_prefix(open + kOpen.size());
      const size_t close = section.body.find(kClose);
      section.alone = section.alone && close != absl::string_view::npos && close + kClose.size() == section.body.size();
      section.body = section.body.substr(0, close);
    }
    std::vector<Tuple> tuples;
    v1::ParseStatus status = v1::EXACT;
    const bool exact = section.alone && Read(section.body, &tuples) && (tuples.size() == 6 || tuples.size() == 8 || tuples.size() == 10);
    if (!exact) {
      status = v1::REPAIRED;
      absl::string_view body = section.body;
      for (const char* key : {"future_trajectory", "x_y_radian"}) {
        if (const size_t at = section.body.find(key); at != absl::string_view::npos) {
          body = section.body.substr(at);
          break;
        }
      }
      tuples = codec::LooseTuples(body, 3, 10);
      if (tuples.size() < 6) return {};
    }
    std::vector<v1::Pose> poses;
    for (const Tuple& t : tuples) poses.push_back(MakePose(t[0], t[1], t[2]));
    if (!FitHorizon(&poses)) return {};
    return {status, std::move(poses)};
  }

  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    return absl::StrCat(R"({"future_trajectory": "[PT, )", absl::StrJoin(poses, ", ", [](std::string* out, const v1::Pose& p) {
      absl::StrAppend(out, "(", Fixed(p.x(), 2, true), ", ", Fixed(p.y(), 2, true), ", ", Fixed(p.heading(), 2, true), ")");
    }), R"(]"})");
  }
};

}  // namespace

std::shared_ptr<const Codec> CreateJsonCodec() { return std::make_shared<JsonTrajectory>(); }

}  // namespace swerve
