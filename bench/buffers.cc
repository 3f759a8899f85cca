// Episodes per second through the buffers, from the first append to the last acknowledgement, embedded and in Redis,
// and what redis-benchmark does with values of the same size, pipelined, against the same server.
// CPU time stands beside each rate: it hardly depends on what else the machine does.
//   bench_buffers [--groups N] [--threads T] [--json FILE]
// Appends by T threads, as a worker does; then the learner's part: read 16 groups, acknowledge them, until none waits.
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

struct Settings {
  int groups = 4000;
  int threads = 16;
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

// One pass over a fresh store.
json Measure(Buffers& buffers, size_t size, const Settings& settings) {
  EpisodeStore& store = buffers.episodes();
  const std::string text = RandomText(size);
  const int groups = settings.groups;
  std::atomic<int> next{0};
  const double cpu = CpuSeconds(0);
  const absl::Time begin = absl::Now();
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
  const absl::Time appended = absl::Now();
  const double append_cpu = CpuSeconds(0) - cpu;
  int acknowledged = 0;
  while (true) {
    auto read = store.Read(0, 16);
    Check(read.status());
    if (read->empty()) break;
    std::vector<uint64_t> batch;
    for (const v1::Episode& e : *read) batch.push_back(e.group());
    Check(store.Ack(batch));
    acknowledged += static_cast<int>(batch.size());
  }
  if (acknowledged != groups) Check(absl::InternalError("not every group came back"));
  const double append_seconds = absl::ToDoubleSeconds(appended - begin);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  return {{"episodes_per_second", groups / seconds},
          {"append_episodes_per_second", groups / append_seconds},
          {"append_client_cpu_us", 1e6 * append_cpu / groups},
          {"client_cpu_us", 1e6 * (CpuSeconds(0) - cpu) / groups},
          {"append_megabytes_per_second", groups * static_cast<double>(size) / append_seconds / 1e6},
          {"megabytes_per_second", groups * static_cast<double>(size) / seconds / 1e6}};
}

// SETs per second of redis-benchmark: one connection for one, `threads` commands in flight.
double BenchmarkSets(const RedisServer& server, size_t size, const Settings& settings, int count) {
  const std::string command =
      absl::StrCat("redis-benchmark -s ", server.socket(), " -c 1 -P ", settings.threads, " -n ", count, " -r ",
                   settings.groups, " -d ", size, " --csv -t set 2>/dev/null");
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

json MeasureRedis(const std::string& appendfsync, size_t size, const Settings& settings) {
  RedisServer::Options options;
  options.arguments = {"--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0"};
  RedisServer server(options);
  Check(server.Start());
  RedisBuffersOptions store;
  store.client.connection.url = *ParseRedisUrl(server.url());
  store.run_id = "run";
  store.max_waiting_bytes = uint64_t{8} << 30;
  auto buffers = OpenRedisBuffers(store);
  Check(buffers.status());
  double cpu = CpuSeconds(server.pid());
  json result = Measure(**buffers, size, settings);
  result["server_cpu_us"] = 1e6 * (CpuSeconds(server.pid()) - cpu) / settings.groups;
  server.Command({"FLUSHALL"});
  cpu = CpuSeconds(server.pid());
  const double sets = BenchmarkSets(server, size, settings, settings.groups);
  result["redis_benchmark_server_cpu_us"] = 1e6 * (CpuSeconds(server.pid()) - cpu) / settings.groups;
  const double reference = sets * static_cast<double>(size) / 1e6;
  result["redis_benchmark_megabytes_per_second"] = reference;
  result["append_share_of_redis_benchmark"] = result["append_megabytes_per_second"].get<double>() / reference;
  result["share_of_redis_benchmark"] = result["megabytes_per_second"].get<double>() / reference;
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

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Episodes per second through the buffers");
  app.add_option("--groups", settings.groups, "Episodes per pass")->check(CLI::PositiveNumber);
  app.add_option("--threads", settings.threads, "Appending threads, and commands in redis-benchmark's pipeline")
      ->check(CLI::Range(1, 256));
  app.add_option("--json", settings.json_file, "Write the figures to this file too");
  CLI11_PARSE(app, argc, argv);
  json all = {{"groups", settings.groups}, {"threads", settings.threads}};
  for (const auto& [name, size] : {std::pair<const char*, size_t>{"8kB", 8 * 1024}, {"64kB", 64 * 1024}}) {
    all[name]["sqlite"] = MeasureSqlite(size, settings);
    for (const char* appendfsync : {"always", "everysec"}) {
      all[name][absl::StrCat("redis_", appendfsync)] = MeasureRedis(appendfsync, size, settings);
    }
  }
  std::printf("%s\n", all.dump(2).c_str());
  if (!settings.json_file.empty()) std::ofstream(settings.json_file) << all.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace swerve

int main(int argc, char** argv) { return swerve::Main(argc, argv); }
