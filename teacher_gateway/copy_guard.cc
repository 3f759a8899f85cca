#include "teacher_gateway/copy_guard.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace swerve {
namespace {

constexpr double kNear = 0.06;      // m: poses are written with one decimal
constexpr double kDistinct = 0.2;   // m
constexpr size_t kPoses = 3;

using Point = std::pair<double, double>;

// Numbers that stand side by side.
std::vector<Point> Pairs(absl::string_view text) {
  std::vector<Point> pairs;
  double previous = 0;
  bool chained = false;  // nothing but separators since `previous`
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (text[end] == '-' || text[end] == '+') ++end;
    const size_t digits = end;
    while (end < text.size() && (absl::ascii_isdigit(text[end]) || text[end] == '.')) ++end;
    absl::string_view number = text.substr(i, end - i);
    while (!number.empty() && number.back() == '.') number.remove_suffix(1);  // the end of a sentence
    double value = 0;
    if (end > digits && absl::SimpleAtod(number, &value)) {
      if (chained) pairs.emplace_back(previous, value);
      previous = value;
      chained = true;
      i = end;
      continue;
    }
    if (absl::string_view(" \t\n,;:()[]{}=xym\"'").find(text[i]) == absl::string_view::npos) chained = false;
    ++i;
  }
  return pairs;
}

}  // namespace

bool HoldsGroundTruth(const std::string& text, const v1::Scene& scene) {
  std::vector<Point> distinct;
  for (const v1::Pose& pose : scene.gt()) {
    const auto near = [&pose](const Point& p) { return std::hypot(p.first - pose.x(), p.second - pose.y()) < kDistinct; };
    if (near({0, 0}) || std::any_of(distinct.begin(), distinct.end(), near)) continue;
    distinct.emplace_back(pose.x(), pose.y());
  }
  if (distinct.size() < 2) return false;
  const std::vector<Point> pairs = Pairs(text);
  size_t found = 0;
  for (const Point& pose : distinct) {
    found += std::any_of(pairs.begin(), pairs.end(), [&pose](const Point& p) {
      return std::abs(p.first - pose.first) <= kNear && std::abs(p.second - pose.second) <= kNear;
    });
  }
  return found >= std::min(kPoses, distinct.size());
}

}  // namespace swerve
