// Bytes per second through the buffers, embedded and in Redis, from the first append to the last acknowledgement, and
// the share of what redis-benchmark reaches that is.
//
// One pass: T threads append N episodes of a text of 8 kB or 64 kB, as workers do, while one thread does the learner's
// part: read the first 16 groups, all 16 there, acknowledge them, until all N are. Its rate is the bytes of those texts
// over the wall time from the first append to the last acknowledgement. With --in-turn the learner's part begins after
// the last append.
// The reference is `redis-benchmark -c 1 -P T -t set`, N SETs of as many bytes each under nearly as many keys, on the
// same machine with the same settings of the server. A SET is sent and stored; an episode is serialised, sent, stored,
// listed, recognised should it come again, read back, parsed and taken out.
// Passes and references alternate, R of each, each on a fresh server; figures are medians, a share is the quotient of
// two. CPU time per episode stands beside each rate: it hardly depends on what else the machine does.
//   bench_buffers [--groups N] [--threads T] [--rounds R] [--in-turn] [--only redis_everysec] [--size 8kB]
//                 [--json FILE]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/random.h"
#include "buffers/redis_buffers.h"
#include "buffers/sqlite_buffers.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

using nlohmann::json;

constexpr int kBatchGroups = 16;  // that the learner reads and acknowledges at once

struct Settings {
  int groups = 4000;
  int threads = 16;
  int rounds = 3;
  bool in_turn = false;
  std::string only, size;
  std::string json_file;
};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_buffers: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}

v1::Episode MakeOf(uint64_t group, const std::string& text) {
  v1::Episode e;
  e.set_run_id("run");
  e.set_scene_id("scene");
  e.set_group(group);
  e.set_attempt(1);
  e.add_samples()->mutable_response()->set_text(text);
  return e;
}

std::string RandomText(size_t size) {
  Random random(size);
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>('a' + random.Below(26));
  return text;
}

// Seconds of CPU that a process has used (all of its threads): this one by 0.
double CpuSeconds(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid == 0 ? getpid() : pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::vector<std::string> cells = absl::StrSplit(text.substr(text.rfind(')') + 2), ' ');
  double user = 0, system = 0;
  if (cells.size() < 13 || !absl::SimpleAtod(cells[11], &user) || !absl::SimpleAtod(cells[12], &system)) return 0;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Reads and acknowledges until `groups` are.
void Learn(EpisodeStore& store, int groups) {
  for (int acknowledged = 0; acknowledged < groups;) {
    auto read = store.Read(0, kBatchGroups);
    Check(read.status());
    if (read->size() < static_cast<size_t>(std::min(kBatchGroups, groups - acknowledged))) continue;
    std::vector<uint64_t> batch;
    for (const v1::Episode& e : *read) batch.push_back(e.group());
    Check(store.Ack(batch));
    acknowledged += static_cast<int>(batch.size());
  }
}

// One pass over a fresh store.
json Measure(Buffers& buffers, size_t size, const Settings& settings) {
  EpisodeStore& store = buffers.episodes();
  const std::string text = RandomText(size);
  const int groups = settings.groups;
  std::atomic<int> next{0};
  const double cpu = CpuSeconds(0);
  const absl::Time begin = absl::Now();
  std::thread learner;
  if (!settings.in_turn) learner = std::thread([&] { Learn(store, groups); });
  std::vector<std::thread> threads;
  for (int t = 0; t < settings.threads; ++t) {
    threads.emplace_back([&] {
      v1::Episode episode = MakeOf(0, text);
      for (int g; (g = next.fetch_add(1)) < groups;) {
        episode.set_group(static_cast<uint64_t>(g));
        Check(store.Append(episode));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const double append_seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  if (learner.joinable()) {
    learner.join();
  } else {
    Learn(store, groups);
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  return {{"episodes_per_second", groups / seconds},
          {"client_cpu_us", 1e6 * (CpuSeconds(0) - cpu) / groups},
          {"append_megabytes_per_second", groups * static_cast<double>(size) / append_seconds / 1e6},
          {"megabytes_per_second", groups * static_cast<double>(size) / seconds / 1e6}};
}

// SETs per second of redis-benchmark: one connection for one, `threads` commands in flight.
double BenchmarkSets(const RedisServer& server, size_t size, const Settings& settings) {
  const std::string command =
      absl::StrCat("redis-benchmark -s ", server.socket(), " -c 1 -P ", settings.threads, " -n ", settings.groups,
                   " -r 1000000000 -d ", size, " --csv -t set 2>/dev/null");
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) Check(absl::UnavailableError("cannot start redis-benchmark"));
  double rate = 0;
  for (char line[512]; std::fgets(line, sizeof line, pipe) != nullptr;) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    std::string cell = cells.size() > 1 && cells[0] == "\"SET\"" ? cells[1] : "";
    cell.erase(std::remove(cell.begin(), cell.end(), '"'), cell.end());
    if (!cell.empty()) static_cast<void>(absl::SimpleAtod(cell, &rate));
  }
  pclose(pipe);
  if (rate <= 0) Check(absl::InternalError("redis-benchmark printed no rate"));
  return rate;
}

RedisServer::Options ServerOf(const std::string& appendfsync) {
  RedisServer::Options options;
  options.arguments = {"--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0"};
  return options;
}

json PassOfRedis(const std::string& appendfsync, size_t size, const Settings& settings) {
  RedisServer server(ServerOf(appendfsync));
  Check(server.Start());
  RedisBuffersOptions store;
  store.client.connection.url = *ParseRedisUrl(server.url());
  store.run_id = "run";
  store.max_waiting_bytes = uint64_t{8} << 30;
  auto buffers = OpenRedisBuffers(store);
  Check(buffers.status());
  const double cpu = CpuSeconds(server.pid());
  json result = Measure(**buffers, size, settings);
  result["server_cpu_us"] = 1e6 * (CpuSeconds(server.pid()) - cpu) / settings.groups;
  return result;
}

json ReferenceOfRedis(const std::string& appendfsync, size_t size, const Settings& settings) {
  RedisServer server(ServerOf(appendfsync));
  Check(server.Start());
  const double cpu = CpuSeconds(server.pid());
  const double sets = BenchmarkSets(server, size, settings);
  return {{"redis_benchmark_server_cpu_us", 1e6 * (CpuSeconds(server.pid()) - cpu) / settings.groups},
          {"redis_benchmark_megabytes_per_second", sets * static_cast<double>(size) / 1e6}};
}

// One pass and one reference, what the kernel has to write from before not among them.
json MeasureRedis(const std::string& appendfsync, size_t size, const Settings& settings) {
  sync();
  json result = PassOfRedis(appendfsync, size, settings);
  sync();
  result.update(ReferenceOfRedis(appendfsync, size, settings));
  return result;
}

json MeasureSqlite(size_t size, const Settings& settings) {
  char dir[] = "/tmp/swerve-bench-XXXXXX";
  if (mkdtemp(dir) == nullptr) Check(absl::UnavailableError("no temporary directory"));
  json result;
  {
    auto buffers = OpenSqliteBuffers(std::string(dir) + "/b.sqlite", "run");
    Check(buffers.status());
    result = Measure(**buffers, size, settings);
  }
  std::filesystem::remove_all(dir);
  return result;
}

json Medians(const std::vector<json>& rounds) {
  json medians;
  for (const auto& [name, value] : rounds[0].items()) {
    std::vector<double> values;
    for (const json& round : rounds) values.push_back(round[name]);
    std::sort(values.begin(), values.end());
    medians[name] = (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
  }
  if (medians.contains("redis_benchmark_megabytes_per_second")) {
    const double reference = medians["redis_benchmark_megabytes_per_second"];
    medians["append_share_of_redis_benchmark"] = medians["append_megabytes_per_second"].get<double>() / reference;
    medians["share_of_redis_benchmark"] = medians["megabytes_per_second"].get<double>() / reference;
  }
  return medians;
}

json MeasureRounds(const std::string& store, size_t size, Settings settings) {
  // Where no sync holds a pass up it would be over too soon to tell.
  if (store == "redis_everysec") settings.groups *= 4;
  std::vector<json> rounds;
  for (int r = 0; r < settings.rounds; ++r) {
    rounds.push_back(store == "sqlite" ? MeasureSqlite(size, settings)
                                       : MeasureRedis(store.substr(store.find('_') + 1), size, settings));
  }
  json result = Medians(rounds);
  result["groups"] = settings.groups;
  return result;
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Episodes per second through the buffers");
  app.add_option("--groups", settings.groups, "Episodes per pass, four times as many under everysec")->check(CLI::PositiveNumber);
  app.add_option("--threads", settings.threads, "Appending threads, and commands in redis-benchmark's pipeline")
      ->check(CLI::Range(1, 256));
  app.add_option("--rounds", settings.rounds, "Passes, of which the medians are told")->check(CLI::Range(1, 99));
  app.add_flag("--in-turn", settings.in_turn, "Read and acknowledge only after the last append");
  app.add_option("--only", settings.only, "One store")
      ->check(CLI::IsMember({"sqlite", "redis_always", "redis_everysec"}));
  app.add_option("--size", settings.size, "One size")->check(CLI::IsMember({"8kB", "64kB"}));
  app.add_option("--json", settings.json_file, "Write the figures to this file too");
  CLI11_PARSE(app, argc, argv);
  json all = {
      {"threads", settings.threads}, {"rounds", settings.rounds}, {"in_turn", settings.in_turn}};
  for (const auto& [name, size] : {std::pair<const char*, size_t>{"8kB", 8 * 1024}, {"64kB", 64 * 1024}}) {
    if (!settings.size.empty() && settings.size != name) continue;
    for (const char* store : {"sqlite", "redis_always", "redis_everysec"}) {
      if (settings.only.empty() || settings.only == store) all[name][store] = MeasureRounds(store, size, settings);
    }
  }
  std::printf("%s\n", all.dump(2).c_str());
  if (!settings.json_file.empty()) std::ofstream(settings.json_file) << all.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace swerve

int main(int argc, char** argv) { return swerve::Main(argc, argv); }
