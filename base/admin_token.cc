#include "base/admin_token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/files.h"

namespace swerve {

absl::StatusOr<std::string> ReadAdminToken(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(std::string token, ReadFile(path));
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " can be read by others, who could use the admin token in it; chmod 600 ", path));
  }
  absl::StripAsciiWhitespace(&token);
  if (token.size() < 16 || !std::all_of(token.begin(), token.end(), absl::ascii_isgraph)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " must hold one line of 16 or more printable characters, the admin token"));
  }
  return token;
}

absl::StatusOr<std::string> ReadOrMakeAdminToken(const std::string& path) {
  absl::StatusOr<std::string> there = ReadAdminToken(path);
  if (!absl::IsNotFound(there.status())) return there;
  unsigned char bytes[32];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return absl::InternalError("OpenSSL has no random bytes for an admin token");
  const std::string token = absl::BytesToHexString({reinterpret_cast<const char*>(bytes), sizeof bytes});
  const std::string draft = absl::StrCat(path, ".", getpid());
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(draft, token + "\n", 0600));
  // Unlike a rename, a link does not replace what another process has made meanwhile.
  const int error = link(draft.c_str(), path.c_str()) == 0 ? 0 : errno;
  unlink(draft.c_str());
  if (error != 0 && error != EEXIST) return ErrnoStatus(error, "create", path);
  return ReadAdminToken(path);
}

bool SameSecret(absl::string_view a, absl::string_view b) {
  // Hashes have one length: the comparison does not tell how long the secret is.
  unsigned char x[SHA256_DIGEST_LENGTH], y[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(a.data()), a.size(), x);
  SHA256(reinterpret_cast<const unsigned char*>(b.data()), b.size(), y);
  return CRYPTO_memcmp(x, y, sizeof x) == 0;
}

}  // namespace swerve
