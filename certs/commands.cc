#include "certs/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "base/exit_code.h"
#include "certs/authority.h"

namespace swerve {
namespace {

struct Arguments {
  std::string dir;
  CertsOptions options;
};

void Show(const std::string& dir) {
  const absl::StatusOr<std::string> table = ShowCerts(dir, absl::Now());
  if (!table.ok()) return FailWith(table.status());
  std::printf("%s", table->c_str());
}

void Make(const Arguments& a, absl::Status (*make)(const std::string&, const CertsOptions&), const char* next) {
  CertsOptions options = a.options;
  options.now = absl::Now();
  const absl::Status status = make(a.dir, options);
  if (!status.ok()) return FailWith(status);
  Show(a.dir);
  std::printf(next, a.dir.c_str());
}

CLI::App* Sub(CLI::App* parent, const char* name, const char* what, const std::shared_ptr<Arguments>& a) {
  CLI::App* sub = parent->add_subcommand(name, what);
  sub->add_option("dir", a->dir, "Directory of the certificates")->required();
  return sub;
}

void AddIssueOptions(CLI::App* command, const std::shared_ptr<Arguments>& a) {
  command->add_option("--days", a->options.days, "Days that a role's certificate lasts")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  command->add_option("--host", a->options.hosts,
                      "DNS name or IP address of a machine that runs roles, besides localhost and 127.0.0.1; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
}

}  // namespace

void AddCertsCommand(CLI::App& app) {
  CLI::App* certs = app.add_subcommand(
      "certs",
      "Certificates with which the roles of a run know each other. Use them by --set security.certs=DIR\n"
      "(docs/security.md).");
  certs->require_subcommand(1);
  auto a = std::make_shared<Arguments>();
  CLI::App* init = Sub(certs, "init", "Makes an authority and one certificate per role; overwrites nothing", a);
  AddIssueOptions(init, a);
  init->callback([a] {
    Make(*a, InitCerts, "use them with: swerve train --set security.certs=%s …\n");
  });
  CLI::App* renew = Sub(certs, "renew", "Makes new certificates and keys for the roles from the same authority", a);
  AddIssueOptions(renew, a);
  renew->callback([a] {
    Make(*a, RenewCerts, "a role uses the new ones in %s when it starts again\n");
  });
  Sub(certs, "show", "Who has a certificate, until when, for which hosts", a)->callback([a] { Show(a->dir); });
}

}  // namespace swerve
