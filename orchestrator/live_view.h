// What one sees of a run: on a terminal one block that is redrawn, otherwise a plain line now and then. Composing the
// text is pure; LiveView only writes it to stderr. Main thread only.
#ifndef SWERVE_ORCHESTRATOR_LIVE_VIEW_H_
#define SWERVE_ORCHESTRATOR_LIVE_VIEW_H_

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

// Share of the run that is done, by steps or by time, whichever is further; 0 … 1.
double RunProgress(const v1::StatusReply& status);

// The block, at most `width` characters a line. Values that no role has reported yet are shown as "-".
std::vector<std::string> ComposeView(const v1::StatusReply& status, const std::map<std::string, int>& restarts,
                                     int width);

// The same in one line.
std::string ComposeLine(const v1::StatusReply& status);

class LiveView {
 public:
  LiveView();
  // Leaves the last block or line standing.
  ~LiveView();

  void Update(const v1::StatusReply& status, const std::map<std::string, int>& restarts);
  // One line above the block.
  void Message(const std::string& line);

 private:
  void Erase();
  void Draw();

  const bool tty_;
  std::vector<std::string> block_;
  size_t drawn_ = 0;  // lines of the block on the terminal now
  std::string line_;
  absl::Time printed_ = absl::InfinitePast();
};

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_LIVE_VIEW_H_
