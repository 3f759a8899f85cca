#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace swerve {

absl::Status ErrnoStatus(int error, absl::string_view operation, absl::string_view path) {
  const std::string text = absl::StrCat("cannot ", operation, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR: return absl::NotFoundError(text);
    case EISDIR: return absl::InvalidArgumentError(text);
    case EACCES:
    case EPERM: return absl::PermissionDeniedError(text);
    case ENOSPC:
    case EDQUOT: return absl::ResourceExhaustedError(text);
    default: return absl::InternalError(text);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat about;
  std::string content;
  size_t done = 0;
  // One byte more than the size, so that the end is seen without growing; a size of 0 may hide content (/proc).
  content.resize(fstat(fd, &about) == 0 && about.st_size > 0 ? static_cast<size_t>(about.st_size) + 1 : 4096);
  while (true) {
    if (done == content.size()) content.resize(2 * done);
    const ssize_t n = read(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(error, "read", path);
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  close(fd);
  content.resize(done);
  return content;
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, int mode) {
  static std::atomic<uint64_t> count{0};  // two threads may write the same path: the later rename wins
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid(), ".", count.fetch_add(1));
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoStatus(errno, "create", temporary);
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      unlink(temporary.c_str());
      return ErrnoStatus(error, "write", temporary);
    }
    done += static_cast<size_t>(n);
  }
  int error = fsync(fd) != 0 ? errno : 0;
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    unlink(temporary.c_str());
    return ErrnoStatus(error, "write", path);
  }
  return absl::OkStatus();
}

absl::Status OnceThereIsRoom(absl::FunctionRef<absl::Status()> write, absl::FunctionRef<bool(const absl::Status&)> wait) {
  while (true) {
    const absl::Status status = write();
    if (!absl::IsResourceExhausted(status) || !wait(status)) return status;
  }
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code ec;
  std::filesystem::create_directories(path, ec);
  return ec ? ErrnoStatus(ec.value(), "create directory", path) : absl::OkStatus();
}

}  // namespace swerve
