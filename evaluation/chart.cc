#include "evaluation/chart.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace swerve {
namespace {

// The smallest of 1, 2, 5 × 10^k that cuts `range` into at most `parts`.
double NiceStep(double range, int parts) {
  const double raw = std::max(range, 1e-12) / parts;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0}) {
    if (m * power >= raw * (1 - 1e-9)) return m * power;
  }
  return 10 * power;
}

struct Axis {
  double low = 0, high = 1, step = 1;
};

Axis AxisFor(double low, double high, int parts) {
  if (high - low < 1e-12 * std::max(1.0, std::abs(high))) {
    const double pad = std::abs(high) > 0 ? 0.1 * std::abs(high) : 1;
    low -= pad;
    high += pad;
  }
  Axis axis;
  axis.step = NiceStep(high - low, parts);
  axis.low = std::floor(low / axis.step + 1e-9) * axis.step;
  axis.high = std::ceil(high / axis.step - 1e-9) * axis.step;
  return axis;
}

std::string TickLabel(double value, double step, bool percent) {
  if (percent) return absl::StrFormat("%.*f %%", step < 0.01 ? 1 : 0, 100 * value);
  if (std::abs(value) < 1e-9 * step) return "0";
  const double largest = std::max(std::abs(value), step);
  if (largest < 1e-3 || largest >= 1e5) return ShortNumber(value);
  const int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return absl::StrFormat("%.*f", digits, value);
}

std::vector<ChartPoint> MovingAverage(const std::vector<ChartPoint>& points) {
  const auto n = static_cast<long>(points.size());
  const long half = std::max<long>(1, n / 24);
  std::vector<ChartPoint> out;
  for (long i = 0; i < n; ++i) {
    const long reach = std::min({half, i, n - 1 - i});  // symmetric, so that the ends are not pulled inwards
    double sum = 0;
    for (long j = i - reach; j <= i + reach; ++j) sum += points[j].y;
    out.push_back({points[i].x, sum / static_cast<double>(2 * reach + 1)});
  }
  return out;
}

// Plot area of a line chart in its viewBox of 360 × 200.
struct Plot {
  static constexpr double kLeft = 46, kRight = 346, kTop = 34, kBottom = 168;
  Axis x, y;
  double X(double v) const { return kLeft + (v - x.low) / (x.high - x.low) * (kRight - kLeft); }
  double Y(double v) const { return kBottom - (v - y.low) / (y.high - y.low) * (kBottom - kTop); }
  std::string Line(const std::vector<ChartPoint>& points, const char* css) const {
    std::string d;
    for (const ChartPoint& p : points) absl::StrAppendFormat(&d, "%.1f,%.1f ", X(p.x), Y(p.y));
    return absl::StrCat("<polyline class=\"", css, "\" points=\"", d, "\"/>");
  }
};

std::string Shown(double value, bool percent) {
  return percent ? absl::StrFormat("%.1f %%", 100 * value) : ShortNumber(value);
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

std::string ShortNumber(double v) {
  const double a = std::abs(v);
  if (a == 0) return "0";
  if (a < 1e-3 || a >= 1e7) return absl::StrFormat("%.2g", v);
  if (a >= 1000) return absl::StrFormat("%.0f", v);
  if (a >= 100) return absl::StrFormat("%.1f", v);
  if (a >= 10) return absl::StrFormat("%.2f", v);
  return absl::StrFormat("%.3f", v);
}

std::string LineChart(const std::string& title, const std::string& x_label, const std::vector<ChartPoint>& points,
                      bool percent, const std::vector<ChartMark>& marks) {
  if (points.empty()) return "";
  double low = points[0].y, high = low, first = points[0].x, last = first;
  for (const ChartPoint& p : points) {
    low = std::min(low, p.y);
    high = std::max(high, p.y);
    first = std::min(first, p.x);
    last = std::max(last, p.x);
  }
  Plot plot;
  plot.y = percent ? AxisFor(0, std::max(high, 0.01), 4) : AxisFor(low, high, 4);
  plot.x = {first, last > first ? last : first + 1, NiceStep(std::max(1.0, last - first), 5)};
  const bool smooth = points.size() >= 12;
  const std::vector<ChartPoint> average = smooth ? MovingAverage(points) : points;
  std::string svg = absl::StrFormat(
      "<figure class=\"chart\"><svg viewBox=\"0 0 360 200\" role=\"img\" aria-label=\"%s\">"
      "<text class=\"ctitle\" x=\"12\" y=\"17\">%s</text><text class=\"cvalue\" x=\"346\" y=\"17\">%s</text>",
      EscapeHtml(title), EscapeHtml(title), Shown(average.back().y, percent));
  for (double v = plot.y.low; v <= plot.y.high + plot.y.step * 1e-6; v += plot.y.step) {
    absl::StrAppendFormat(&svg, "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>", Plot::kLeft,
                          Plot::kRight, plot.Y(v), plot.Y(v));
    absl::StrAppendFormat(&svg, "<text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%s</text>",
                          Plot::kLeft - 5, plot.Y(v) + 3.5, TickLabel(v, plot.y.step, percent));
  }
  for (double v = std::ceil(first / plot.x.step) * plot.x.step; v <= plot.x.high + 1e-9; v += plot.x.step) {
    absl::StrAppendFormat(&svg, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"182\">%s</text>", plot.X(v),
                          TickLabel(v, plot.x.step, false));
  }
  absl::StrAppendFormat(&svg, "<text class=\"tick\" text-anchor=\"end\" x=\"346\" y=\"196\">%s</text>",
                        EscapeHtml(x_label));
  for (const ChartMark& mark : marks) {
    if (!(mark.x >= first && mark.x <= last)) continue;
    absl::StrAppendFormat(&svg,
                          "<g class=\"event\"><title>%s %g: %s</title><line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" "
                          "y2=\"%.0f\"/><rect x=\"%.1f\" y=\"%.0f\" width=\"8\" height=\"%.0f\"/></g>",
                          EscapeHtml(x_label), mark.x, EscapeHtml(mark.text), plot.X(mark.x), plot.X(mark.x), Plot::kTop,
                          Plot::kBottom, plot.X(mark.x) - 4, Plot::kTop, Plot::kBottom - Plot::kTop);
  }
  if (smooth) svg += plot.Line(points, "raw");
  svg += plot.Line(average, "line");
  absl::StrAppendFormat(&svg, "<circle class=\"end\" r=\"3\" cx=\"%.1f\" cy=\"%.1f\"/>", plot.X(average.back().x),
                        plot.Y(average.back().y));
  for (const ChartPoint& p : points) {
    absl::StrAppendFormat(&svg, "<circle class=\"hit\" r=\"5\" cx=\"%.1f\" cy=\"%.1f\"><title>%s %s: %s</title></circle>",
                          plot.X(p.x), plot.Y(p.y), EscapeHtml(x_label), absl::StrFormat("%g", p.x), Shown(p.y, percent));
  }
  return svg + "</svg></figure>";
}

std::string PairChart(const std::string& title, const std::vector<PairRow>& rows, bool percent) {
  constexpr double kLeft = 190, kRight = 540, kRow = 24, kTop = 40;
  const double bottom = kTop + kRow * static_cast<double>(rows.size());
  const auto x = [&](double v) { return kLeft + std::clamp(v, 0.0, 1.0) * (kRight - kLeft); };
  std::string svg = absl::StrFormat(
      "<figure class=\"pairs\"><svg viewBox=\"0 0 620 %.0f\" role=\"img\" aria-label=\"%s\">"
      "<text class=\"ctitle\" x=\"0\" y=\"17\">%s</text>",
      bottom + 24, EscapeHtml(title), EscapeHtml(title));
  for (int i = 0; i <= 5; ++i) {
    const double v = 0.2 * i;
    absl::StrAppendFormat(&svg, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\"/>", x(v), x(v),
                          kTop - 8, bottom);
    absl::StrAppendFormat(&svg, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.0f\">%s</text>", x(v),
                          bottom + 15, TickLabel(v, 0.2, percent));
  }
  double y = kTop + 0.5 * kRow - 4;
  for (const PairRow& r : rows) {
    absl::StrAppendFormat(&svg, "<g><title>%s: %s before, %s after</title>", EscapeHtml(r.name),
                          Shown(r.before, percent), Shown(r.after, percent));
    absl::StrAppendFormat(&svg, "<rect class=\"hit\" x=\"0\" y=\"%.1f\" width=\"620\" height=\"%.0f\"/>", y - kRow / 2,
                          kRow);
    absl::StrAppendFormat(&svg, "<text class=\"rname%s\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%s</text>",
                          r.strong ? " strong" : "", kLeft - 14, y + 4, EscapeHtml(r.name));
    absl::StrAppendFormat(&svg, "<line class=\"link\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x(r.before),
                          x(r.after), y, y);
    const auto whisker = [&](double low, double high, const char* css, double dy) {
      if (high <= low) return;
      absl::StrAppendFormat(&svg, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", css, x(low),
                            x(high), y + dy, y + dy);
    };
    whisker(r.before_low, r.before_high, "whisker before", -5);
    whisker(r.after_low, r.after_high, "whisker after", 5);
    absl::StrAppendFormat(&svg, "<circle class=\"dot before\" r=\"%d\" cx=\"%.1f\" cy=\"%.1f\"/>", r.strong ? 6 : 5,
                          x(r.before), y);
    absl::StrAppendFormat(&svg, "<circle class=\"dot after\" r=\"%d\" cx=\"%.1f\" cy=\"%.1f\"/>", r.strong ? 6 : 5,
                          x(r.after), y);
    const double change = r.after - r.before;
    absl::StrAppendFormat(&svg, "<text class=\"tick%s\" x=\"%.0f\" y=\"%.1f\">%s</text></g>", r.strong ? " strong" : "",
                          kRight + 12, y + 4,
                          percent ? absl::StrFormat("%+.1f", 100 * change) : absl::StrFormat("%+.3f", change));
    y += kRow;
  }
  return svg + "</svg></figure>";
}

}  // namespace swerve
