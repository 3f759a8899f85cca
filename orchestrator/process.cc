#include "orchestrator/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/stop.h"

namespace swerve {

std::string ProcessEnd::ToString() const {
  return signal != 0 ? absl::StrCat("signal ", signal, " (", strsignal(signal), ")") : absl::StrCat("exit code ", code);
}

Process::~Process() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

absl::StatusOr<Process> Process::Start(const std::vector<std::string>& argv, const std::string& log) {
  // Everything the child needs is made before fork: between fork and exec only async-signal-safe calls are allowed.
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  int log_fd = -1;
  if (!log.empty()) {
    log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) return ErrnoStatus(errno, "open log", log);
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    if (log_fd >= 0) close(log_fd);
    return absl::UnavailableError(absl::StrCat("cannot start ", argv[0], ": ", std::strerror(error)));
  }
  if (pid == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // the parent died before prctl
    if (log_fd >= 0) {
      dup2(log_fd, STDOUT_FILENO);
      dup2(log_fd, STDERR_FILENO);
    }
    signal(SIGPIPE, SIG_DFL);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  if (log_fd >= 0) close(log_fd);
  Process process;
  process.pid_ = pid;
  return process;
}

std::optional<ProcessEnd> Process::Poll() {
  if (pid_ <= 0) return std::nullopt;
  int status = 0;
  const pid_t pid = waitpid(pid_, &status, WNOHANG);
  if (pid == 0 || (pid < 0 && errno == EINTR)) return std::nullopt;
  pid_ = 0;
  ProcessEnd end;
  if (pid < 0) {
    end.code = 1;
  } else if (WIFSIGNALED(status)) {
    end.signal = WTERMSIG(status);
  } else {
    end.code = WEXITSTATUS(status);
  }
  return end;
}

void Process::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

std::string SelfBinary() { return "/proc/self/exe"; }

std::vector<std::string> LogTail(const std::string& path, size_t lines) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return {};
  std::vector<std::string> all = absl::StrSplit(*text, '\n');
  while (!all.empty() && all.back().empty()) all.pop_back();
  if (all.size() > lines) all.erase(all.begin(), all.end() - static_cast<ptrdiff_t>(lines));
  return all;
}

absl::Status RunSelf(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<std::string> argv = {SelfBinary()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  SWERVE_ASSIGN_OR_RETURN(Process process, Process::Start(argv, log));
  int passed_on = 0;
  while (true) {
    if (const std::optional<ProcessEnd> end = process.Poll()) {
      if (passed_on > 0) return absl::CancelledError("stopped");
      if (end->ok()) return absl::OkStatus();
      std::string message = absl::StrCat("`swerve ", absl::StrJoin(arguments, " "), "` ended with ", end->ToString());
      if (!log.empty()) absl::StrAppend(&message, ":\n", absl::StrJoin(LogTail(log, 10), "\n"), "\n(all of it: ", log, ")");
      return absl::FailedPreconditionError(message);
    }
    const int wanted = Stop::Count();
    if (wanted > passed_on) {
      process.Signal(wanted > 1 ? SIGKILL : SIGTERM);
      passed_on = wanted;
    }
    // A set latch would return at once from WaitFor: then wait for the child alone.
    if (passed_on > 0) {
      usleep(50000);
    } else {
      Stop::WaitFor(absl::Milliseconds(50));
    }
  }
}

}  // namespace swerve
