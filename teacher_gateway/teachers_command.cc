// `swerve teachers`: a person's hand on the gateway of a running training.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/access.h"
#include "base/config.h"
#include "base/exit_code.h"
#include "base/role_channel.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/teachers.grpc.pb.h"
#include "teacher_gateway/commands.h"

namespace swerve {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

struct Arguments {
  std::string run = "runs/latest";
  std::string name;
  double weight = 0;
  std::vector<std::string> fields;
};

template <typename Request, typename Reply>
absl::StatusOr<Reply> Call(const Arguments& a, const Request& request,
                           grpc::Status (v1::TeacherAdmin::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                                  Reply*)) {
  SWERVE_ASSIGN_OR_RETURN(RoleChannel::Options channel, AdminChannelOptions(RunDir(a.run)));
  RoleChannel line(RunDir(a.run), "teacher", std::move(channel));
  Reply reply;
  SWERVE_RETURN_IF_ERROR(line.Call(
      [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
        reply.Clear();
        const std::unique_ptr<v1::TeacherAdmin::StubInterface> stub = v1::TeacherAdmin::NewStub(channel);
        return (stub.get()->*method)(context, request, &reply);
      },
      kPatience));
  return reply;
}

std::string Row(const v1::TeacherState& t) {
  std::vector<std::string> outcomes;
  for (int outcome = v1::OK; outcome <= v1::INTERNAL; ++outcome) {
    const auto count = t.reports().find(v1::Outcome_Name(outcome));
    if (count != t.reports().end()) outcomes.push_back(absl::StrCat(count->first, " ", count->second));
  }
  std::string row = absl::StrFormat("%-16s %-12s %5.1f %%  %s%s", t.spec().name(), t.spec().kind(), 100 * t.share(),
                                    outcomes.empty() ? "nothing asked yet" : absl::StrJoin(outcomes, ", "),
                                    t.spec().draining() ? "  draining" : "");
  if (t.spec().shadow()) absl::StrAppend(&row, "  shadow, missed ", t.shadow_missed());
  absl::StrAppendFormat(&row, "  %.2g s a report  gives away %.1f %%", t.seconds(), 100 * t.with_ground_truth());
  if (t.spec().kind() == "openai") {
    const uint64_t asked = t.cache_hits() + t.cache_misses();
    absl::StrAppendFormat(&row, "  %s  remembered %.0f %%  tokens %.0f  money %.4f%s", t.version(),
                          asked == 0 ? 0.0 : 100.0 * static_cast<double>(t.cache_hits()) / static_cast<double>(asked),
                          t.tokens(), t.money(), t.breaker_open() ? "  left alone after failures" : "");
    if (t.hedges() > 0) absl::StrAppend(&row, "  asked twice ", t.hedges());
  }
  if (t.spec().fallback_size() > 0) absl::StrAppend(&row, "  then ", absl::StrJoin(t.spec().fallback(), ", "));
  return row;
}

void List(const Arguments& a) {
  const auto reply = Call(a, v1::ListTeachersRequest(), &v1::TeacherAdmin::StubInterface::ListTeachers);
  if (!reply.ok()) return FailWith(reply.status());
  std::printf("set %llu, %s\n", static_cast<unsigned long long>(reply->set_version()),
              reply->from_file() ? reply->file().c_str() : "from teacher.kind; there is no teachers file");
  for (const v1::TeacherState& teacher : reply->teachers()) std::printf("%s\n", Row(teacher).c_str());
}

template <typename Request>
void Change(const Arguments& a, const Request& request,
            grpc::Status (v1::TeacherAdmin::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                   v1::TeachersChanged*)) {
  const auto reply = Call(a, request, method);
  if (!reply.ok()) return FailWith(reply.status());
  std::printf("set %llu is in force\n", static_cast<unsigned long long>(reply->set_version()));
}

// The file is beside the run, this command runs anywhere: paths are sent whole.
void MakeAbsolute(std::string* path) {
  if (!path->empty()) *path = std::filesystem::absolute(*path).string();
}

void Add(const Arguments& a) {
  v1::AddTeacherRequest request;
  v1::TeacherSpec* spec = request.mutable_teacher();
  for (const std::string& field : a.fields) {
    const size_t equals = field.find('=');
    if (equals == std::string::npos) {
      return FailWith(absl::InvalidArgumentError(absl::StrCat(field, ": expected field=value, for example weight=0.5")));
    }
    const absl::Status set =
        ReadYamlMessage(absl::StrCat(field.substr(0, equals), ": ", field.substr(equals + 1)), field.substr(0, equals), spec);
    if (!set.ok()) return FailWith(set);
  }
  spec->set_name(a.name);
  for (std::string* path : {spec->mutable_key_file(), spec->mutable_ca_file(), spec->mutable_failed_template(),
                            spec->mutable_correct_template()}) {
    MakeAbsolute(path);
  }
  if (spec->key_file().empty()) spec->clear_key_file();
  if (spec->ca_file().empty()) spec->clear_ca_file();
  if (spec->failed_template().empty()) spec->clear_failed_template();
  if (spec->correct_template().empty()) spec->clear_correct_template();
  Change(a, request, &v1::TeacherAdmin::StubInterface::AddTeacher);
}

CLI::App* Sub(CLI::App* parent, const std::string& name, const std::string& what, const std::shared_ptr<Arguments>& a) {
  CLI::App* sub = parent->add_subcommand(name, what);
  sub->add_option("--run", a->run, "Directory of the run (default: runs/latest)");
  return sub;
}

}  // namespace

void AddTeachersCommand(CLI::App& app) {
  CLI::App* teachers = app.add_subcommand(
      "teachers",
      "Shows and changes the teachers of a training while it runs. A change is checked as a whole, written to the run's\n"
      "teachers file and then in force for every new group; what is in flight ends under the old teachers.\n"
      "`compare` needs no training: it replays the same failures through two teachers.");
  teachers->require_subcommand(1);
  auto a = std::make_shared<Arguments>();
  Sub(teachers, "list", "Teachers in force: share of groups, outcomes, cost", a)->callback([a] { List(*a); });
  CLI::App* add = Sub(teachers, "add",
                      "Adds a teacher: swerve teachers add vlm url=http://127.0.0.1:8000/v1 model=qwen weight=0.5 "
                      "fallback=[oracle]. Fields: deploy/teachers/teachers.yaml", a);
  add->add_option("name", a->name, "What feedback and metrics will call it")->required();
  add->add_option("fields", a->fields, "field=value …");
  add->callback([a] { Add(*a); });
  const auto named = [&](const char* name, const char* what) {
    CLI::App* sub = Sub(teachers, name, what, a);
    sub->add_option("name", a->name, "The teacher's name")->required();
    return sub;
  };
  named("remove", "Takes a teacher out")->callback([a] {
    v1::RemoveTeacherRequest request;
    request.set_name(a->name);
    Change(*a, request, &v1::TeacherAdmin::StubInterface::RemoveTeacher);
  });
  CLI::App* weight = named("weight", "Changes a teacher's weight; ends its draining");
  weight->add_option("weight", a->weight, "Share of groups = weight / sum of weights")->required();
  weight->callback([a] {
    v1::SetTeacherWeightRequest request;
    request.set_name(a->name);
    request.set_weight(a->weight);
    Change(*a, request, &v1::TeacherAdmin::StubInterface::SetTeacherWeight);
  });
  named("drain", "Gives a teacher nothing new, neither groups nor fallbacks")->callback([a] {
    v1::DrainTeacherRequest request;
    request.set_name(a->name);
    Change(*a, request, &v1::TeacherAdmin::StubInterface::DrainTeacher);
  });
  Sub(teachers, "reload", "Reads the teachers file, keys and templates again", a)->callback([a] {
    Change(*a, v1::ReloadTeachersRequest(), &v1::TeacherAdmin::StubInterface::ReloadTeachers);
  });
}

}  // namespace swerve
