#include "chaos/processes.h"

#include <filesystem>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/files.h"

namespace swerve {

pid_t PidOfRole(const std::string& run_dir, const std::string& name) {
  std::error_code error;
  for (auto it = std::filesystem::directory_iterator("/proc", error); !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(it->path().filename().string(), &pid)) continue;
    const auto text = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));  // empty: a zombie
    if (!text.ok() || text->empty()) continue;
    const std::vector<std::string> words = absl::StrSplit(*text, '\0');
    if (words.size() < 7 || words[1] != "serve") continue;
    bool of_run = false, named = false;
    for (size_t i = 2; i + 1 < words.size(); ++i) {
      of_run = of_run || (words[i] == "--run" && words[i + 1] == run_dir);
      named = named || (words[i] == "--name" && words[i + 1] == name);
    }
    if (of_run && named) return pid;
  }
  return 0;
}

}  // namespace swerve
