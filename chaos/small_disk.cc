#include "chaos/small_disk.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/files.h"

namespace swerve {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<SmallDisk>> SmallDisk::Mount(const std::string& dir, int megabytes) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  if (mount("tmpfs", dir.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, absl::StrCat("size=", megabytes, "m").c_str()) != 0) {
    return ErrnoStatus(errno, "mount a small tmpfs on", dir);
  }
  return std::unique_ptr<SmallDisk>(new SmallDisk(dir, megabytes));
}

SmallDisk::~SmallDisk() { umount2(dir_.c_str(), MNT_DETACH); }

absl::Status SmallDisk::Fill() {
  struct statvfs about;
  if (statvfs(dir_.c_str(), &about) != 0) return ErrnoStatus(errno, "stat", dir_);
  const off_t room = static_cast<off_t>(about.f_bavail) * static_cast<off_t>(about.f_frsize);
  if (room == 0) return absl::OkStatus();
  const int fd = open(filler().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "create", filler());
  const off_t end = lseek(fd, 0, SEEK_END);
  // Others take some of it meanwhile: then less.
  off_t take = room;
  while (take > 0 && fallocate(fd, 0, end, take) != 0) take = errno == ENOSPC ? take / 2 : 0;
  close(fd);
  return absl::OkStatus();
}

void SmallDisk::Free() { unlink(filler().c_str()); }

absl::Status SmallDisk::Keep(std::unique_ptr<SmallDisk> disk) {
  const std::string dir = disk->dir_, kept = dir + ".kept";
  disk->Free();
  std::error_code error;
  fs::copy(dir, kept, fs::copy_options::recursive | fs::copy_options::overwrite_existing, error);
  if (error) return absl::InternalError(absl::StrCat("cannot copy ", dir, " to ", kept, ": ", error.message()));
  disk.reset();
  fs::remove_all(dir, error);
  fs::rename(kept, dir, error);
  return error ? absl::InternalError(absl::StrCat("cannot rename ", kept, " to ", dir, ": ", error.message())) : absl::OkStatus();
}

}  // namespace swerve
