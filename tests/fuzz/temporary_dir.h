// A directory of this process for parsers that read files; removed at exit.
#ifndef SWERVE_TESTS_FUZZ_TEMPORARY_DIR_H_
#define SWERVE_TESTS_FUZZ_TEMPORARY_DIR_H_

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace swerve::testing {

class TemporaryDir {
 public:
  explicit TemporaryDir(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / (name + "-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_; }
  std::string Write(const std::string& file, absl::string_view bytes) const {
    const std::string path = path_ / file;
    std::FILE* f = std::fopen(path.c_str(), "wb");
    if (f == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), f) != bytes.size() || std::fclose(f) != 0) std::abort();
    return path;
  }

 private:
  const std::filesystem::path path_;
};

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_FUZZ_TEMPORARY_DIR_H_
