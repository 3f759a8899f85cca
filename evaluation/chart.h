// Charts as inline SVG, coloured by the page's CSS variables so that they follow light and dark. Pure functions.
#ifndef SWERVE_EVALUATION_CHART_H_
#define SWERVE_EVALUATION_CHART_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace swerve {

// & < > " ' made safe for HTML text and attributes; control characters other than line breaks and tabs become spaces.
std::string EscapeHtml(absl::string_view text);

// A number for people: as many digits as say something ("0.042", "12.3", "1.5e-06", "18400").
std::string ShortNumber(double value);

struct ChartPoint {
  double x = 0, y = 0;
};

// Something that happened at x, in words for the hover title.
struct ChartMark {
  double x = 0;
  std::string text;
};

// One series over steps: axes with ticks, the points faint, a moving average on top, a hover title on each point.
// `percent` shows shares as percentages and keeps 0 on the axis. `marks` within the points' range are dashed
// verticals. An empty string without points.
std::string LineChart(const std::string& title, const std::string& x_label, const std::vector<ChartPoint>& points,
                      bool percent = false, const std::vector<ChartMark>& marks = {});

// Before and after of one quantity in one row each.
struct PairRow {
  std::string name;
  double before = 0, after = 0;
  double before_low = 0, before_high = 0, after_low = 0, after_high = 0;  // interval; equal ends: none drawn
  bool strong = false;  // the overall row
};
// A dumbbell chart on a common axis from 0 to 1 (percent: 0 to 100 %).
std::string PairChart(const std::string& title, const std::vector<PairRow>& rows, bool percent);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_CHART_H_
