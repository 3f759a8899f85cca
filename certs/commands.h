// `swerve certs`: certificates for mutual TLS between the roles of a run.
#ifndef SWERVE_CERTS_COMMANDS_H_
#define SWERVE_CERTS_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddCertsCommand(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_CERTS_COMMANDS_H_
