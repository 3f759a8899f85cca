// A small file system of memory in place of a directory, which can be filled to the last byte. Needs root. Main thread.
#ifndef SWERVE_CHAOS_SMALL_DISK_H_
#define SWERVE_CHAOS_SMALL_DISK_H_

#include <memory>
#include <string>

#include "base/status.h"

namespace swerve {

class SmallDisk {
 public:
  // Makes `dir`, which must be empty, and mounts a tmpfs of `megabytes` on it. PERMISSION_DENIED: not allowed here.
  static absl::StatusOr<std::unique_ptr<SmallDisk>> Mount(const std::string& dir, int megabytes);
  // Unmounts, at once or when the last user is gone; what lies on it is lost.
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // Takes what is free, also what became free since the last call.
  absl::Status Fill();
  // Gives it back.
  void Free();
  int megabytes() const { return megabytes_; }

  // Unmounts and leaves the files at the same place on the disk below.
  static absl::Status Keep(std::unique_ptr<SmallDisk> disk);

 private:
  SmallDisk(std::string dir, int megabytes) : dir_(std::move(dir)), megabytes_(megabytes) {}
  std::string filler() const { return dir_ + "/.filler"; }
  const std::string dir_;
  const int megabytes_;
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_SMALL_DISK_H_
