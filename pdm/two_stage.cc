#include "pdm/two_stage.h"

#include <cmath>
#include <limits>

namespace swerve::pdm {
namespace {

constexpr double kSpread = 0.1;        // m^2, variance of the weights
constexpr double kNoWeight = 1e-8;     // a sum of weights this small says nothing
constexpr double kMaxInterval = 0.55;  // s, exclusive
const double kNaN = std::numeric_limits<double>::quiet_NaN();

class Aggregation {
 public:
  Aggregation(absl::Span<const StageRow> rows, absl::Span<const StageGroup> groups) : rows_(rows), groups_(groups) {}

  absl::StatusOr<StageResult> Run() {
    SWERVE_RETURN_IF_ERROR(Index());
    // Weights and EC of all groups first: a token in two groups keeps the last it is given, in every group.
    for (const StageGroup& g : groups_) {
      SWERVE_RETURN_IF_ERROR(SetComfort(g.now, g.prev));
      for (const auto& [now, prev] : g.second) SWERVE_RETURN_IF_ERROR(SetComfort(now, prev));
      SetWeights(g.now, Second(g, true));
      SetWeights(g.prev, Second(g, false));
    }
    for (auto& [token, t] : out_.per_token) {
      const SubScoresV2& s = Row(token).scores;
      StageColumns& c = t.columns;
      c = {s.nc, s.dac, s.ddc, s.tlc, s.ep, s.ttc, s.lk, s.hc, c[kEC], Epdms(s, c[kEC])};
    }
    Average();
    return std::move(out_);
  }

 private:
  const StageRow& Row(const std::string& token) const { return rows_[index_.at(token)]; }
  static std::vector<std::string> Second(const StageGroup& g, bool now) {
    std::vector<std::string> tokens;
    for (const auto& pair : g.second) tokens.push_back(now ? pair.first : pair.second);
    return tokens;
  }

  absl::Status Index() {
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (!index_.emplace(rows_[i].token, i).second) {
        return absl::InvalidArgumentError(absl::StrCat("two rows have the token '", rows_[i].token, "'"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetComfort(const std::string& now, const std::string& prev) {
    for (const std::string& token : {now, prev}) {
      if (!index_.count(token)) {
        return absl::InvalidArgumentError(absl::StrCat("mapping: token '", token, "' has no scored row"));
      }
    }
    const double interval = Row(now).start_time - Row(prev).start_time;
    if (!(interval > 0 && interval < kMaxInterval)) {
      return absl::InvalidArgumentError(absl::StrCat("mapping: '", prev, "' lies ", interval, " s before '", now,
                                                     "'; extended comfort needs more than 0 and less than 0.55 s"));
    }
    const int offset = static_cast<int>(std::nearbyint(interval / kDt));
    const double ec = ExtendedComfort(Row(now).states, Row(prev).states, offset) ? 1 : 0;
    for (const std::string& token : {now, prev}) out_.per_token[token].columns[kEC] = ec;
    return absl::OkStatus();
  }

  // Of the second-stage scenes that follow the plan of `first`.
  void SetWeights(const std::string& first, const std::vector<std::string>& second) {
    out_.per_token[first].weight = 1;
    std::vector<double> weights;
    double sum = 0;
    for (const std::string& token : second) {
      const Vec2 d = Row(first).end_point - Row(token).start_point;
      weights.push_back(std::exp(-Dot(d, d) / (2 * kSpread)));
      sum += weights.back();
    }
    const bool even = !(std::fabs(sum) > kNoWeight);
    for (size_t i = 0; i < second.size(); ++i) {
      out_.per_token[second[i]].weight = even ? 1.0 / static_cast<double>(second.size()) : weights[i] / sum;
    }
  }

  StageColumns WeightedMean(const std::vector<std::string>& tokens) const {
    StageColumns sum{};
    double weights = 0;
    for (const std::string& token : tokens) {
      const StageResult::Token& t = out_.per_token.at(token);
      weights += t.weight;
      for (int c = 0; c < kStageColumns; ++c) sum[c] += t.weight * t.columns[c];
    }
    for (double& v : sum) v = weights == 0 ? kNaN : v / weights;
    return sum;
  }

  void Average() {
    StageColumns counts[3] = {};
    StageColumns* outs[3] = {&out_.combined, &out_.stage_one, &out_.stage_two};
    for (const StageGroup& g : groups_) {
      const StageColumns first_now = WeightedMean({g.now}), first_prev = WeightedMean({g.prev});
      const StageColumns second_now = WeightedMean(Second(g, true)), second_prev = WeightedMean(Second(g, false));
      for (int c = 0; c < kStageColumns; ++c) {
        const double values[3] = {(first_now[c] * second_now[c] + first_prev[c] * second_prev[c]) / 2,
                                  (first_now[c] + first_prev[c]) / 2, (second_now[c] + second_prev[c]) / 2};
        for (int k = 0; k < 3; ++k) {
          if (std::isnan(values[k])) continue;
          (*outs[k])[c] += values[k];
          counts[k][c] += 1;
        }
      }
    }
    for (int k = 0; k < 3; ++k) {
      for (int c = 0; c < kStageColumns; ++c) (*outs[k])[c] = counts[k][c] == 0 ? kNaN : (*outs[k])[c] / counts[k][c];
    }
  }

  absl::Span<const StageRow> rows_;
  absl::Span<const StageGroup> groups_;
  std::map<std::string, size_t> index_;
  StageResult out_;
};

}  // namespace

Vec2 PlanEnd(const Pose2& rear_axle, absl::Span<const Pose2> poses) {
  const Vec2 u = Direction(rear_axle.heading);
  const Pose2& p = poses[poses.size() - 1];
  return {rear_axle.x + u.x * p.x - u.y * p.y, rear_axle.y + u.y * p.x + u.x * p.y};
}

absl::StatusOr<StageResult> AggregateTwoStages(absl::Span<const StageRow> rows, absl::Span<const StageGroup> groups) {
  return Aggregation(rows, groups).Run();
}

}  // namespace swerve::pdm
