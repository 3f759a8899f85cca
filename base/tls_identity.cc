#include "base/tls_identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/files.h"

namespace swerve {
namespace {

constexpr absl::string_view kUriPrefix = "spiffe://swerve/role/";

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};
using X509Ptr = std::unique_ptr<X509, Release<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
struct BioRelease {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioRelease>;

BioPtr Reading(const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

X509Ptr ParseCertificate(const std::string& pem) {
  X509Ptr certificate(PEM_read_bio_X509(Reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

// A key under a password must not make OpenSSL ask for one on the terminal.
KeyPtr ParseKey(const std::string& pem) {
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(Reading(pem).get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return key;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTimeT(timegm(&parts));
}

std::string IpText(const ASN1_OCTET_STRING* ip) {
  const unsigned char* bytes = ASN1_STRING_get0_data(ip);
  if (ASN1_STRING_length(ip) == 4) return absl::StrFormat("%d.%d.%d.%d", bytes[0], bytes[1], bytes[2], bytes[3]);
  std::string text;
  for (int i = 0; i + 1 < ASN1_STRING_length(ip); i += 2) {
    absl::StrAppendFormat(&text, "%s%x", i == 0 ? "" : ":", bytes[i] << 8 | bytes[i + 1]);
  }
  return text;
}

void ReadAlternativeNames(X509* certificate, std::string* role, std::vector<std::string>* names) {
  auto* list = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    const auto text = [](const ASN1_STRING* s) {
      return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), ASN1_STRING_length(s));
    };
    if (name->type == GEN_URI && role->empty()) *role = RoleOfUri(text(name->d.uniformResourceIdentifier));
    if (names == nullptr) continue;
    if (name->type == GEN_DNS) names->push_back(text(name->d.dNSName));
    if (name->type == GEN_IPADD) names->push_back(IpText(name->d.iPAddress));
  }
  GENERAL_NAMES_free(list);
}

absl::Status CheckKeyMode(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, " can be read by others; chmod 600 ", path));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& TlsRoles() {
  static const auto& roles = *new std::vector<std::string>{"orchestrator", "reward", "teacher", "rollout",
                                                           "learner",      "admin",  "client"};
  return roles;
}

std::string RoleUri(absl::string_view role) { return absl::StrCat(kUriPrefix, role); }
std::string RoleDnsName(absl::string_view role) { return absl::StrCat(role, ".swerve"); }
std::string RoleOfUri(absl::string_view uri) {
  if (!absl::ConsumePrefix(&uri, kUriPrefix)) return "";
  const auto& roles = TlsRoles();
  return std::find(roles.begin(), roles.end(), uri) == roles.end() ? "" : std::string(uri);
}
std::string RoleKind(absl::string_view name) { return std::string(name.substr(0, name.find('-'))); }

absl::StatusOr<CertificateFacts> ReadCertificate(const std::string& pem) {
  const X509Ptr certificate = ParseCertificate(pem);
  if (certificate == nullptr) return absl::InvalidArgumentError("no certificate in PEM");
  CertificateFacts facts;
  char subject[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, subject, sizeof subject);
  facts.subject = subject;
  facts.not_before = TimeOf(X509_get0_notBefore(certificate.get()));
  facts.not_after = TimeOf(X509_get0_notAfter(certificate.get()));
  facts.authority = X509_check_ca(certificate.get()) == 1;
  ReadAlternativeNames(certificate.get(), &facts.role, &facts.names);
  return facts;
}

absl::StatusOr<std::shared_ptr<const TlsIdentity>> LoadTlsIdentity(const std::string& dir, const std::string& role,
                                                                   absl::Time now) {
  const std::string authority = dir + "/ca.crt", certificate = absl::StrCat(dir, "/", role, ".crt"),
                    key = absl::StrCat(dir, "/", role, ".key");
  auto identity = std::make_shared<TlsIdentity>();
  identity->role = role;
  const std::pair<const std::string&, std::string*> parts[] = {
      {authority, &identity->authority_pem}, {certificate, &identity->certificate_pem}, {key, &identity->key_pem}};
  for (const auto& [path, text] : parts) {
    absl::StatusOr<std::string> read = ReadFile(path);
    if (!read.ok()) return Annotate(read.status(), "security.certs (swerve certs init makes it)");
    *text = *std::move(read);
  }
  for (const std::string& path : {authority, certificate}) {
    const auto facts = ReadCertificate(path == authority ? identity->authority_pem : identity->certificate_pem);
    if (!facts.ok()) return Annotate(facts.status(), path);
    if (facts->not_after < now) {
      return absl::FailedPreconditionError(absl::StrCat(path, " expired at ", absl::FormatTime(facts->not_after, absl::UTCTimeZone()),
                                                        "; swerve certs renew ", dir));
    }
    if (path == certificate && facts->role != role) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is the certificate of '", facts->role, "', not of ", role));
    }
    identity->not_after = facts->not_after;
  }
  SWERVE_RETURN_IF_ERROR(CheckKeyMode(key));
  const KeyPtr parsed = ParseKey(identity->key_pem);
  if (parsed == nullptr) return absl::InvalidArgumentError(absl::StrCat(key, " holds no private key in PEM without password"));
  const int belongs = X509_check_private_key(ParseCertificate(identity->certificate_pem).get(), parsed.get());
  ERR_clear_error();
  if (belongs != 1) return absl::InvalidArgumentError(absl::StrCat(key, " is not the key of ", certificate));
  return std::shared_ptr<const TlsIdentity>(std::move(identity));
}

}  // namespace swerve
