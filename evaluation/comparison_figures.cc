// The numbers of a comparison, their intervals, and how they are shown (evaluation/teacher_comparison.h).
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "evaluation/chart.h"
#include "evaluation/teacher_comparison.h"

namespace swerve {
namespace {

constexpr int kResamples = 2000;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Group = std::array<ComparedGroup, 2>;

// A ratio of two sums over groups.
struct Figure {
  const char* name;
  const char* what;
  bool percent;
  double (*part)(const ComparedGroup&);
  double (*whole)(const ComparedGroup&);
};
double FailuresOf(const ComparedGroup& g) { return g.failures; }
double Successes(const ComparedGroup& g) { return g.tally.successes; }
double Gain(const ComparedGroup& g) { return g.tally.gain; }
double Reports(const ComparedGroup& g) { return g.tally.reports; }
double Asked(const ComparedGroup& g) { return g.tally.asked; }
double SecondsOf(const ComparedGroup& g) { return g.tally.seconds; }
double Tokens(const ComparedGroup& g) { return g.tally.tokens; }
double Money(const ComparedGroup& g) { return g.tally.money; }
double Holds(const ComparedGroup& g) { return g.tally.holds_ground_truth; }
double Equals(const ComparedGroup& g) { return g.tally.equals_ground_truth; }
double Refinements(const ComparedGroup& g) { return g.tally.refinements; }

constexpr Figure kFigures[] = {
    {"refinement_success", "failures turned into successes", true, Successes, FailuresOf},
    {"pdms_gain", "ΔPDMS per failure", false, Gain, FailuresOf},
    {"report_ratio", "failures with a report", true, Reports, FailuresOf},
    {"seconds", "seconds per failure asked about", false, SecondsOf, Asked},
    {"tokens", "tokens per failure", false, Tokens, FailuresOf},
    {"tokens_per_success", "tokens per success", false, Tokens, Successes},
    {"money_per_success", "money per success", false, Money, Successes},
    {"holds_ground_truth", "reports that hold GT", true, Holds, Reports},
    {"equals_ground_truth", "refinements that are GT", true, Equals, Refinements},
};

double Ratio(double part, double whole) {
  if (whole > 0) return part / whole;
  return part > 0 ? kInfinity : kNaN;
}

// `values` of the resamples; those that could not be had are left out.
Estimate Around(double value, std::vector<double> values) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty() || std::isnan(value)) return {value, kNaN, kNaN};
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {value, values[n * 25 / 1000], values[std::max<size_t>(1, n * 975 / 1000) - 1]};
}

std::string Number(double value, bool percent, bool with_sign) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value > 0 ? "∞" : "-∞";
  if (percent) return absl::StrFormat(with_sign ? "%+.1f %%" : "%.1f %%", 100 * value);
  return absl::StrCat(with_sign && value > 0 ? "+" : "", ShortNumber(value));
}

std::string Shown(const Estimate& e, bool percent, bool with_sign) {
  if (std::isnan(e.value)) return "–";
  if (e.low == e.value && e.high == e.value) return Number(e.value, percent, with_sign);
  return absl::StrCat(Number(e.value, percent, with_sign), " [", Number(e.low, percent, with_sign), ", ",
                      Number(e.high, percent, with_sign), "]");
}

// `text` in a column of `width` characters; UTF-8's continuation bytes take no place.
std::string Column(const std::string& text, size_t width) {
  size_t shown = 0;
  for (const char c : text) shown += (c & 0xc0) != 0x80;
  return text + std::string(shown < width ? width - shown : 1, ' ');
}

nlohmann::ordered_json ToJson(const Estimate& e) {
  return {{"value", e.value}, {"low", e.low}, {"high", e.high}};  // dump() writes what is not finite as null
}

}  // namespace

std::vector<ComparedFigure> FiguresOf(const std::vector<Group>& groups, uint64_t seed) {
  constexpr size_t kCount = std::size(kFigures);
  // Per group and arm: part and whole of every figure.
  struct Sums {
    std::array<double, kCount> part{}, whole{};
  };
  std::vector<std::array<Sums, 2>> sums(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t arm = 0; arm < 2; ++arm) {
      for (size_t f = 0; f < kCount; ++f) {
        sums[g][arm].part[f] = kFigures[f].part(groups[g][arm]);
        sums[g][arm].whole[f] = kFigures[f].whole(groups[g][arm]);
      }
    }
  }
  const auto ratios = [&](const std::vector<size_t>& chosen) {
    std::array<Sums, 2> sum;
    for (const size_t g : chosen) {
      for (size_t arm = 0; arm < 2; ++arm) {
        for (size_t f = 0; f < kCount; ++f) {
          sum[arm].part[f] += sums[g][arm].part[f];
          sum[arm].whole[f] += sums[g][arm].whole[f];
        }
      }
    }
    std::array<std::array<double, 3>, kCount> out;  // A, B, B - A
    for (size_t f = 0; f < kCount; ++f) {
      for (size_t arm = 0; arm < 2; ++arm) out[f][arm] = Ratio(sum[arm].part[f], sum[arm].whole[f]);
      out[f][2] = out[f][1] - out[f][0];
    }
    return out;
  };
  std::vector<size_t> chosen(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) chosen[g] = g;
  const auto whole = ratios(chosen);
  Random random(StreamSeed(seed, HashName("teacher comparison")));
  std::vector<std::array<std::array<double, 3>, kCount>> resamples(groups.empty() ? 0 : kResamples);
  for (auto& resample : resamples) {
    for (size_t& g : chosen) g = random.Below(groups.size());
    resample = ratios(chosen);
  }
  std::vector<ComparedFigure> out;
  for (size_t f = 0; f < kCount; ++f) {
    ComparedFigure& figure = out.emplace_back();
    figure.name = kFigures[f].name;
    figure.what = kFigures[f].what;
    figure.percent = kFigures[f].percent;
    for (size_t column = 0; column < 3; ++column) {
      std::vector<double> values;
      for (const auto& resample : resamples) values.push_back(resample[f][column]);
      (column < 2 ? figure.of[column] : figure.difference) = Around(whole[f][column], std::move(values));
    }
  }
  return out;
}

std::string ComparisonTable(const Comparison& c) {
  constexpr size_t kName = 34, kWide = 30;
  std::string out = absl::StrFormat("%d scenes, %d responses, %d of them failed, in %d groups; [95 %% over groups]\n\n",
                                    c.scenes, c.responses, c.failures, c.groups);
  absl::StrAppend(&out, Column("", kName), Column(c.names[0], kWide), Column(c.names[1], kWide), c.names[1], " - ",
                  c.names[0], "\n");
  for (const ComparedFigure& f : c.figures) {
    absl::StrAppend(&out, Column(f.what, kName), Column(Shown(f.of[0], f.percent, false), kWide),
                    Column(Shown(f.of[1], f.percent, false), kWide), Shown(f.difference, f.percent, true), "\n");
  }
  for (size_t arm = 0; arm < 2; ++arm) {
    std::vector<std::string> failures;
    for (const auto& [outcome, count] : c.totals[arm].failures) failures.push_back(absl::StrFormat("%s %.0f", outcome, count));
    if (!failures.empty()) absl::StrAppend(&out, "no report from ", c.names[arm], ": ", absl::StrJoin(failures, ", "), "\n");
  }
  return out;
}

std::string ComparisonJson(const Comparison& c) {
  nlohmann::ordered_json json = {{"scenes", c.scenes},   {"groups", c.groups},     {"responses", c.responses},
                                 {"failures", c.failures}, {"seed", c.seed}};
  for (size_t arm = 0; arm < 2; ++arm) {
    json["teachers"].push_back({{"name", c.names[arm]}, {"totals", TallyToJson(c.totals[arm])}});
  }
  for (const ComparedFigure& f : c.figures) {
    json["figures"][f.name] = {{c.names[0], ToJson(f.of[0])}, {c.names[1], ToJson(f.of[1])}, {"difference", ToJson(f.difference)}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace swerve
