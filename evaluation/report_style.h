// The page's style sheet: one palette for light and one for dark.
#ifndef SWERVE_EVALUATION_REPORT_STYLE_H_
#define SWERVE_EVALUATION_REPORT_STYLE_H_

namespace swerve {

inline constexpr char kReportStyle[] = R"css(
:root{color-scheme:light dark;
--page:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#5b6877;--rule:#e2e6eb;--grid:#e8ebef;
--line:#2a6fdb;--bad:#d1495b;--good:#1b7f6b;--gt:#16202c;--before:#b3bcc7;
--road:#e4e7eb;--lane:#fff;--route:#c9d6ea;--vehicle:#e09f3e;--vulnerable:#a23b9c;--thing:#7b8794;--field:#f2f4f6}
@media (prefers-color-scheme:dark){:root{
--page:#10151b;--card:#171e26;--ink:#e6ebf0;--soft:#93a1b0;--rule:#27313c;--grid:#232c36;
--line:#6ea4f4;--bad:#f0707f;--good:#46c3a6;--gt:#f2f5f8;--before:#56636f;
--road:#2a333d;--lane:#3a4550;--route:#2f4259;--vehicle:#e5ab55;--vulnerable:#d27fcd;--thing:#8e9aa7;--field:#131a21}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:36px 24px 64px}
h1{font-size:28px;letter-spacing:-.015em;margin:0 0 14px}
h2{font-size:19px;letter-spacing:-.01em;margin:44px 0 4px}
p.lead{color:var(--soft);margin:2px 0 16px;max-width:78ch}
.facts{color:var(--soft);margin:-8px 0 24px}
.facts b{color:var(--ink);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(205px,1fr));gap:14px}
.tile,.card,.chart,.pairs,.tablebox{background:var(--card);border:1px solid var(--rule);border-radius:12px}
.tile{padding:16px 18px}
.tile .name{color:var(--soft);font-size:13px}
.tile .value{font-size:30px;font-weight:650;letter-spacing:-.02em;line-height:1.25;font-variant-numeric:tabular-nums}
.tile .value small{font-size:17px;font-weight:500;color:var(--soft)}
.tile .note{color:var(--soft);font-size:13px}
.up{color:var(--good)}.down{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:14px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:14px}
figure{margin:0}.chart,.pairs{padding:10px 12px}
svg{display:block;width:100%;height:auto}
svg text{font-family:inherit;fill:var(--ink)}
.ctitle{font-size:13px;font-weight:600}
.cvalue{font-size:13px;font-weight:600;text-anchor:end;fill:var(--line)!important}
.tick{font-size:10.5px;fill:var(--soft)!important}
.pairs .tick,.rname{font-size:12px}.strong{font-weight:700;fill:var(--ink)!important}
.grid{stroke:var(--grid);stroke-width:1}
.line{fill:none;stroke:var(--line);stroke-width:2;stroke-linejoin:round}
.raw{fill:none;stroke:var(--line);stroke-width:1;opacity:.28}
.end{fill:var(--line)}.hit{fill:transparent}.hit:hover{fill:var(--line);fill-opacity:.16}
.event line{stroke:var(--good);stroke-width:1.2;stroke-dasharray:4 3}.event rect{fill:transparent}
ul.events{color:var(--soft);font-size:13.5px;padding-left:20px}
.link{stroke:var(--before);stroke-width:2.5}
.whisker{stroke-width:1.5;opacity:.75}.whisker.before{stroke:var(--before)}.whisker.after{stroke:var(--line)}
.dot.before{fill:var(--before)}.dot.after{fill:var(--line)}
.tablebox{overflow-x:auto;margin-top:14px}
table{border-collapse:collapse;width:100%;font-size:12.5px;font-variant-numeric:tabular-nums}
th,td{padding:7px 8px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--soft);font-weight:500}th:first-child,td:first-child{padding-left:14px}th:last-child,td:last-child{padding-right:14px}th:first-child,td:first-child{text-align:left}
tr:last-child td{border-bottom:0}tr.all td{font-weight:650}
td small{display:block;font-size:11px;line-height:1.25;color:var(--soft);font-weight:400}
.card{padding:16px;margin-top:16px}
.card header{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;margin-bottom:10px}
.card header b{font-size:15px}.card header span{color:var(--soft);font-size:13px}
.body{display:grid;grid-template-columns:minmax(0,1.12fr) minmax(0,1fr);gap:18px}
@media (max-width:820px){.body{grid-template-columns:1fr}.two{grid-template-columns:1fr}}
.scene{background:var(--field);border-radius:8px}
.road{fill:var(--road)}.scene *{vector-effect:non-scaling-stroke}.lane{fill:none;stroke:var(--lane);stroke-width:1.2}
.route{fill:none;stroke:var(--route);stroke-width:9;stroke-linecap:round;opacity:.85}
.object{stroke:var(--card);stroke-width:1}.vehicle{fill:var(--vehicle)}.vulnerable{fill:var(--vulnerable)}.thing{fill:var(--thing)}
.ghost{fill:none;stroke:var(--vehicle);stroke-width:1.2;stroke-dasharray:4 3;opacity:.8}
.future{fill:none;stroke:var(--vehicle);stroke-width:1.6;opacity:.55}
.ego{fill:var(--ink)}
.trajectory{fill:none;stroke-width:3.2;stroke-linejoin:round;stroke-linecap:round}
.trajectory.failing{stroke:var(--bad)}.trajectory.refined{stroke:var(--line)}.trajectory.gt{stroke:var(--gt);stroke-width:1.4;stroke-dasharray:5 4}
.pose.failing{fill:var(--bad)}.pose.refined{fill:var(--line)}.pose.gt{fill:transparent}
.footprint{fill-opacity:.13;stroke-width:1.3}
.footprint.failing{fill:var(--bad);stroke:var(--bad)}.footprint.refined{fill:var(--line);stroke:var(--line)}.footprint.gt{fill:none;stroke:none}
.mark{stroke:var(--bad);stroke-width:3.4;stroke-linecap:round;fill:none}
path.scale{stroke:var(--soft);stroke-width:1.2;fill:none}text.scale{text-anchor:middle;fill:var(--soft)!important}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--soft);font-size:12.5px;margin-top:8px}
.legend i{display:inline-block;width:16px;height:0;border-top:3px solid;margin-right:6px;vertical-align:middle}
.legend .failing{border-color:var(--bad)}.legend .refined{border-color:var(--line)}.legend .gt{border-color:var(--gt);border-top-style:dashed}
.step{border-left:3px solid var(--rule);padding:0 0 0 12px;margin-bottom:14px}
.step.failing{border-color:var(--bad)}.step.refined{border-color:var(--line)}.step.teacher{border-color:var(--good)}
.step h3{font-size:13px;margin:0 0 2px;font-weight:600}.step h3 span{color:var(--soft);font-weight:400}
.step p{margin:0;font-size:13.5px;overflow-wrap:anywhere}
dl{margin:0;display:grid;grid-template-columns:auto 1fr;gap:1px 10px;font-size:13.5px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
details{margin-top:14px}summary{cursor:pointer;color:var(--soft)}
code{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere;color:var(--soft)}
footer{color:var(--soft);font-size:13px;margin-top:44px;border-top:1px solid var(--rule);padding-top:14px}
.none{color:var(--soft)}
)css";

}  // namespace swerve

#endif  // SWERVE_EVALUATION_REPORT_STYLE_H_
