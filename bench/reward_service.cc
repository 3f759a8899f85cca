// What the reward service costs over the library: candidates per second in groups of 16 (or --group), facts included.
//   bench_reward_service --binary build/release/swerve [--calls | --batch N] [--against OTHER] [--rounds N] [--json FILE]
// Library: ScoreGroup on one thread that is bound to core 0. Service: the real `swerve reward` with one scoring thread,
// the whole process (transport, parsing, metrics) bound to core 0 too, while this process asks from core 1, over gRPC on
// loopback; scenes by id. Each group goes by itself over a stream, through the rollout workers' client, which writes and reads the
// messages meanwhile; by --calls or --batch a group or N a call, serialised before. Both score the same groups; the service's
// answers are compared with the library's byte for byte first. Medians over rounds in turn, since the machine's speed drifts.
// A virtual machine's host takes time from a core, more of it while both are busy, as with the service: `share` is by the
// clock, `share_given` by the time that the core ran or could have.
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "bench/measure.h"
#include "bench/process_cpu.h"
#include "bench/scorer_scenes.h"
#include "reward_service/rewards.h"
#include "rollout_workers/reward_stream.h"
#include "scenes/flat_poses.h"
#include "scenes/store.h"
#include "swerve/v1/reward.pb.h"
#include "swerve/v1/reward_batch.pb.h"

namespace swerve::bench {
namespace {

using nlohmann::ordered_json;

constexpr int kServerCore = 0, kClientCore = 1;

struct Options {
  std::string binary = "build/release/swerve", against, json_file;
  double seconds = 0.25;
  int rounds = 25, group = 16, batch = 1, in_flight = 64, channels = 2, text = 300;
  std::string rules = "v1";
  bool calls = false;
  bool stream() const { return !calls && batch == 1; }
};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "bench_reward_service: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T Need(absl::StatusOr<T> value) {
  if (!value.ok()) Fail(std::string(value.status().message()));
  return *std::move(value);
}

void BindTo(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) Fail(absl::StrCat("core ", core, " cannot be used: this bench needs two"));
}

// The groups of one weight, as messages, as bytes, and made ready for the library.
struct Work {
  std::vector<std::shared_ptr<const RewardTarget>> targets;
  std::vector<v1::ScoreGroupRequest> requests;
  std::vector<grpc::ByteBuffer> bytes;  // of requests; with a batch, of calls that hold one after the other
  const char* method = "/swerve.v1.RewardService/ScoreGroup";
};

Work MakeWork(const std::vector<v1::Scene>& scenes, const Options& o) {
  Work work;
  const std::string text = absl::StrCat("<think>", std::string(static_cast<size_t>(o.text), 'x'),
                                        "</think><answer>a</answer>");
  const pdm::Rules rules = Need(RulesByName(o.rules));
  for (const v1::Scene& scene : scenes) {
    work.targets.push_back(Need(PrepareTarget(scene, rules)));
    v1::ScoreGroupRequest& request = work.requests.emplace_back();
    request.set_scene_id(scene.id());
    request.mutable_weights()->set_traj(1);
    request.mutable_weights()->set_fmt(1);
    request.set_pdm_rules(rules == pdm::Rules::kV2 ? v1::V2 : v1::V1);
    for (int i = 0; i < o.group; ++i) {
      v1::ScoreCandidate* candidate = request.add_candidates();
      AddFlat(scene.candidates(i % scene.candidates_size()).poses(), candidate->mutable_flat_poses());  // as workers do
      candidate->set_text(text);
      candidate->set_parse(v1::EXACT);
    }
    if (o.batch > 1) continue;
    const grpc::Slice slice(request.SerializeAsString());
    work.bytes.emplace_back(&slice, 1);
  }
  if (o.batch > 1) work.method = "/swerve.v1.RewardBatchService/ScoreGroups";
  for (size_t first = 0; o.batch > 1 && first < work.requests.size(); ++first) {
    v1::ScoreGroupsRequest call;
    for (int i = 0; i < o.batch; ++i) *call.add_groups() = work.requests[(first + i) % work.requests.size()];
    const grpc::Slice slice(call.SerializeAsString());
    work.bytes.emplace_back(&slice, 1);
  }
  return work;
}

// Candidates per second of the library, on a thread of its own: this process's others stay on their core.
double LibraryRate(const Work& work, const Options& o) {
  double rate = 0;
  std::thread([&] {
    BindTo(kServerCore);
    size_t groups = 0;
    const double begin = CpuSeconds(CLOCK_MONOTONIC);
    double seconds = 0;
    while ((seconds = CpuSeconds(CLOCK_MONOTONIC) - begin) < o.seconds) {
      for (size_t i = 0; i < work.requests.size(); ++i, ++groups) {
        Keep(ScoreGroup(*work.targets[i], work.requests[i], work.requests[i].weights()));
      }
    }
    rate = static_cast<double>(groups) * o.group / seconds;
  }).join();
  return rate;
}

// The service as a process on its core. Ends with the object.
class Service {
 public:
  Service(const Options& o, const std::string& binary, const std::string& scenes) {
    int out[2];
    if (pipe(out) != 0) Fail("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      BindTo(kServerCore);
      dup2(out[1], STDOUT_FILENO);
      execl(binary.c_str(), binary.c_str(), "reward", "--scenes", scenes.c_str(), "--port", "0", "--http-port", "0",
            "--set", "reward.threads=1", "--set", "limits.calls_per_second=0", "--set", "telemetry.log_level=warning",
            static_cast<char*>(nullptr));
      _exit(127);
    }
    close(out[1]);
    FILE* in = fdopen(out[0], "r");
    char line[4096] = "";
    if (std::fgets(line, sizeof line, in) == nullptr) Fail(absl::StrCat(binary, " does not start; name it with --binary"));
    std::fclose(in);
    const std::string address = nlohmann::json::parse(line)["grpc"];
    for (int i = 0; i < o.channels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("grpc.use_local_subchannel_pool", 1);
      const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
      if (o.stream()) streams_.push_back(std::make_unique<RewardStream>(channel));
    }
  }
  ~Service() {
    streams_.clear();
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  grpc::GenericStub& stub(size_t i) { return *stubs_[i % stubs_.size()]; }
  RewardStream* stream(size_t i) { return streams_.empty() ? nullptr : streams_[i % streams_.size()].get(); }

 private:
  pid_t pid_ = 0;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::vector<std::unique_ptr<RewardStream>> streams_;
};

// A closed loop: each caller asks again when it has its answer.
class Callers {
 public:
  Callers(Service* service, const Work& work, int count) : service_(*service), work_(work), left_(count) {
    callers_.resize(static_cast<size_t>(count));
  }
  // Calls answered within `seconds`, and the time until the last of them.
  std::pair<size_t, double> Run(double seconds) {
    const double begin = CpuSeconds(CLOCK_MONOTONIC);
    end_ = begin + seconds;
    for (size_t i = 0; i < callers_.size(); ++i) Ask(i);
    left_.Wait();
    return {answered_, CpuSeconds(CLOCK_MONOTONIC) - begin};
  }

 private:
  struct Caller {
    std::unique_ptr<grpc::ClientContext> context;
    grpc::ByteBuffer reply;
  };
  void Ask(size_t i) {
    Caller& caller = callers_[i];
    caller.context = std::make_unique<grpc::ClientContext>();
    caller.reply.Clear();
    const size_t group = next_++ % work_.bytes.size();
    if (RewardStream* const stream = service_.stream(i)) {
      stream->Ask(work_.requests[group], absl::Seconds(30), [this, i](RewardStream::Answer answer) {
        Answered(i, answer.status());
      });
      return;
    }
    service_.stub(i).UnaryCall(caller.context.get(), work_.method, {}, &work_.bytes[group], &caller.reply,
                               [this, i](const grpc::Status& status) { Answered(i, FromGrpc(status)); });
  }
  void Answered(size_t i, const absl::Status& status) {
    if (!status.ok()) Fail(std::string(status.message()));
    ++answered_;
    if (CpuSeconds(CLOCK_MONOTONIC) >= end_) {
      left_.DecrementCount();
    } else {
      Ask(i);
    }
  }
  Service& service_;
  const Work& work_;
  absl::BlockingCounter left_;
  double end_ = 0;
  std::atomic<size_t> next_{0}, answered_{0};
  std::vector<Caller> callers_;
};

std::string Bytes(const grpc::ByteBuffer& buffer) {
  grpc::Slice all;
  buffer.DumpToSingleSlice(&all);
  return std::string(reinterpret_cast<const char*>(all.begin()), all.size());
}

// What the service says to work.bytes[i].
std::string AnswerOf(Service& service, const Work& work, size_t i) {
  if (RewardStream* const stream = service.stream(0)) {
    return Need(stream->Score(work.requests[i], absl::Seconds(30))).SerializeAsString();
  }
  grpc::ClientContext context;
  grpc::ByteBuffer reply;
  absl::BlockingCounter done(1);
  grpc::Status status;
  service.stub(0).UnaryCall(&context, work.method, {}, &work.bytes[i], &reply,
                            [&](const grpc::Status& s) { status = s, done.DecrementCount(); });
  done.Wait();
  if (!status.ok()) Fail(status.error_message());
  return Bytes(reply);
}

void CompareAnswers(Service& service, const Work& work, const Options& o) {
  for (size_t i = 0; i < work.requests.size(); ++i) {
    const auto of = [&](size_t k) {
      return Need(ScoreGroup(*work.targets[k], work.requests[k], work.requests[k].weights()));
    };
    v1::ScoreGroupsReply batch;
    for (int k = 0; k < o.batch; ++k) *batch.add_answers()->mutable_reply() = of((i + k) % work.requests.size());
    const std::string want = o.batch > 1 ? batch.SerializeAsString() : of(i).SerializeAsString();
    if (AnswerOf(service, work, i) != want) {
      Fail(absl::StrCat("the service's answer about ", work.requests[i].scene_id(), " is not the library's"));
    }
  }
}

double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

ordered_json Measure(const std::vector<v1::Scene>& scenes, const Options& o, const std::string& dir) {
  auto writer = Need(SceneWriter::Create(dir));
  for (const v1::Scene& scene : scenes) {
    if (const auto s = writer->Add(scene); !s.ok()) Fail(std::string(s.message()));
  }
  if (const auto s = writer->Finish(); !s.ok()) Fail(std::string(s.message()));
  const Work work = MakeWork(scenes, o);
  Service service(o, o.binary, dir);
  CompareAnswers(service, work, o);
  std::unique_ptr<Service> other;
  if (!o.against.empty()) other = std::make_unique<Service>(o, o.against, dir);
  std::vector<double> gain;
  std::vector<double> library, served, share, cpu_us, client_us;
  double library_stolen = 0, stolen = 0, idle = 0, seconds_served = 0, scored_by_library = 0, scored = 0;
  for (int r = 0; r < o.rounds; ++r) {
    const CoreSeconds begin = SecondsOfCore(kServerCore);
    library.push_back(LibraryRate(work, o));
    const CoreSeconds between = SecondsOfCore(kServerCore);
    Callers callers(&service, work, o.in_flight);
    const double cpu = ProcessCpuSeconds(service.pid()), mine = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto [calls, seconds] = callers.Run(o.seconds);
    const double candidates = static_cast<double>(calls) * o.batch * o.group;
    cpu_us.push_back(1e6 * (ProcessCpuSeconds(service.pid()) - cpu) / candidates);
    client_us.push_back(1e6 * (CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - mine) / candidates);
    scored_by_library += library.back() * o.seconds, scored += candidates;
    const CoreSeconds end = SecondsOfCore(kServerCore);
    library_stolen += between.stolen - begin.stolen, stolen += end.stolen - between.stolen;
    idle += end.idle - between.idle, seconds_served += seconds;
    served.push_back(candidates / seconds);
    share.push_back(served.back() / library.back());
    if (other != nullptr) {
      Callers theirs(other.get(), work, o.in_flight);
      const auto [n, t] = theirs.Run(o.seconds);
      gain.push_back(served.back() / (static_cast<double>(n) * o.batch * o.group / t));
    }
  }
  const double seconds = o.seconds * o.rounds;
  ordered_json out = {
      {"scenes", scenes.size()},
      {"library_candidates_per_second", Median(library)},
      {"service_candidates_per_second", Median(served)},
      {"share", Median(share)},
      {"share_given", scored / (seconds_served - stolen) / (scored_by_library / (seconds - library_stolen))},
      {"library_us_per_candidate", 1e6 / Median(library)},
      {"service_cpu_us_per_candidate", Median(cpu_us)},
      {"caller_cpu_us_per_candidate", Median(client_us)},
      {"library_core_stolen", library_stolen / seconds},
      {"service_core_stolen", stolen / seconds_served},
      {"service_core_idle", idle / seconds_served},
      {"request_bytes", work.bytes[0].Length()}};
  if (other != nullptr) out["gain"] = Median(gain);
  return out;
}

int Main(int argc, char** argv) {
  Options o;
  CLI::App app("Candidates per second of the reward service, as a share of the library's, one core each; JSON");
  app.add_option("--binary", o.binary, "The swerve program")->capture_default_str();
  app.add_option("--against", o.against, "Another one to compare it with, in turn: `gain` is the first's throughput over this one's");
  app.add_option("--seconds", o.seconds, "Of one measurement")->capture_default_str();
  app.add_option("--rounds", o.rounds, "Measurements; medians count")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--group", o.group, "Candidates per group")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_flag("--calls", o.calls, "Each group by a call of its own, instead of over the stream that clients with many callers use");
  app.add_option("--batch", o.batch, "Groups per call; more than one: by ScoreGroups")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--in-flight", o.in_flight, "Groups at once, or calls")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--channels", o.channels, "Connections")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--text", o.text, "Characters of a response's reasoning")->capture_default_str();
  app.add_option("--rules", o.rules, "v1 or v2")->capture_default_str();
  app.add_option("--json", o.json_file, "Write the figures to this file too");
  CLI11_PARSE(app, argc, argv);
  // Before any thread is made: gRPC's would stay where this one was, on the service's core now and then.
  BindTo(kClientCore);
  const Scenes scenes = LoadScenes();
  char name[] = "/tmp/swerve-bench-XXXXXX";
  const std::string root = mkdtemp(name);
  ordered_json out = {{"group", o.group}, {"batch", o.batch}, {"stream", o.stream()}, {"in_flight", o.in_flight}, {"channels", o.channels}, {"rules", o.rules}};
  out["light"] = Measure(scenes.light, o, root + "/light");
  out["heavy"] = Measure(scenes.heavy, o, root + "/heavy");
  std::filesystem::remove_all(root);
  std::cout << out.dump(2) << "\n";
  if (!o.json_file.empty()) std::ofstream(o.json_file) << out.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace swerve::bench

int main(int argc, char** argv) { return swerve::bench::Main(argc, argv); }
