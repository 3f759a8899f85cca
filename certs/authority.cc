#include "certs/authority.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "absl/strings/str_join.h"
#include "base/tls_identity.h"

namespace swerve {
namespace {

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};
using X509Ptr = std::unique_ptr<X509, Release<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION, X509_EXTENSION_free>>;
struct BioRelease {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioRelease>;

absl::Status OpenSslError(absl::string_view what) {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("OpenSSL: ", what, ": ", text));
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, size);
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// 127 random bits: no two certificates of an authority may share a number, and nothing is kept to count with.
bool SetSerial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(bytes, sizeof bytes, nullptr);
  const bool done = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return done;
}

bool SetName(X509_NAME* name, const std::string& common_name) {
  const auto text = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.c_str()); };
  return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, text("swerve"), -1, -1, 0) == 1 &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text(common_name), -1, -1, 0) == 1;
}

// An unsigned certificate with a new key in it.
absl::StatusOr<X509Ptr> Draft(const std::string& common_name, Validity validity, EVP_PKEY* key) {
  X509Ptr draft(X509_new());
  const bool done = draft != nullptr && X509_set_version(draft.get(), X509_VERSION_3) == 1 && SetSerial(draft.get()) &&
                    ASN1_TIME_set(X509_getm_notBefore(draft.get()), absl::ToTimeT(validity.not_before)) != nullptr &&
                    ASN1_TIME_set(X509_getm_notAfter(draft.get()), absl::ToTimeT(validity.not_after)) != nullptr &&
                    SetName(X509_get_subject_name(draft.get()), common_name) &&
                    X509_set_pubkey(draft.get(), key) == 1;
  if (!done) return OpenSslError("draft of a certificate");
  return draft;
}

absl::StatusOr<KeyPair> Sign(X509* draft, EVP_PKEY* key, EVP_PKEY* by) {
  if (X509_sign(draft, by, EVP_sha256()) == 0) return OpenSslError("signature");
  const BioPtr certificate(BIO_new(BIO_s_mem())), secret(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate.get(), draft) != 1 ||
      PEM_write_bio_PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslError("writing PEM");
  }
  return KeyPair{TextOf(certificate.get()), TextOf(secret.get())};
}

bool IsAddress(const std::string& host) {
  ASN1_OCTET_STRING* ip = a2i_IPADDRESS(host.c_str());
  ERR_clear_error();
  ASN1_OCTET_STRING_free(ip);
  return ip != nullptr;
}

// Also keeps what is a separator in OpenSSL's extension texts out of them.
bool IsDnsName(const std::string& host) {
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '*' || c == '_';
         });
}

absl::StatusOr<std::string> AlternativeNames(const std::string& role, std::vector<std::string> hosts) {
  std::vector<std::string> names = {absl::StrCat("URI:", RoleUri(role)), absl::StrCat("DNS:", RoleDnsName(role))};
  hosts.insert(hosts.begin(), {"localhost", "127.0.0.1"});
  for (const std::string& host : hosts) {
    const bool address = IsAddress(host);
    if (!address && !IsDnsName(host)) {
      return absl::InvalidArgumentError(absl::StrCat("host '", host, "' is neither a DNS name nor an IP address"));
    }
    names.push_back(absl::StrCat(address ? "IP:" : "DNS:", host));
  }
  return absl::StrJoin(names, ",");
}

}  // namespace

absl::StatusOr<KeyPair> MakeAuthority(Validity validity) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("making a key");
  SWERVE_ASSIGN_OR_RETURN(const X509Ptr draft, Draft("swerve authority", validity, key.get()));
  X509* c = draft.get();
  if (X509_set_issuer_name(c, X509_get_subject_name(c)) != 1 ||
      !AddExtension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(c, c, NID_subject_key_identifier, "hash")) {
    return OpenSslError("the authority's extensions");
  }
  return Sign(c, key.get(), key.get());
}

absl::StatusOr<KeyPair> IssueRole(const KeyPair& authority, const std::string& role,
                                  const std::vector<std::string>& hosts, Validity validity) {
  if (std::find(TlsRoles().begin(), TlsRoles().end(), role) == TlsRoles().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no role '", role, "'; there are: ", absl::StrJoin(TlsRoles(), ", ")));
  }
  SWERVE_ASSIGN_OR_RETURN(const std::string names, AlternativeNames(role, hosts));
  const BioPtr certificate_text(BIO_new_mem_buf(authority.certificate_pem.data(), -1)),
      key_text(BIO_new_mem_buf(authority.key_pem.data(), -1));
  const X509Ptr issuer(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  const auto no_password = [](char*, int, int, void*) { return -1; };
  const KeyPtr issuer_key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, no_password, nullptr));
  if (issuer == nullptr || issuer_key == nullptr || X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("the authority's certificate and key are not PEM or do not belong together");
  }
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("making a key");
  SWERVE_ASSIGN_OR_RETURN(const X509Ptr draft, Draft(absl::StrCat("swerve ", role), validity, key.get()));
  X509* c = draft.get();
  const bool calls_only = role == "admin" || role == "client";
  if (X509_set_issuer_name(c, X509_get_subject_name(issuer.get())) != 1 ||
      !AddExtension(c, issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(c, issuer.get(), NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(c, issuer.get(), NID_ext_key_usage, calls_only ? "clientAuth" : "serverAuth,clientAuth") ||
      !AddExtension(c, issuer.get(), NID_subject_key_identifier, "hash") ||
      !AddExtension(c, issuer.get(), NID_authority_key_identifier, "keyid:always") ||
      !AddExtension(c, issuer.get(), NID_subject_alt_name, names)) {
    return OpenSslError(absl::StrCat("the extensions of role ", role));
  }
  return Sign(c, key.get(), issuer_key.get());
}

}  // namespace swerve
