// What TensorBoard and a tail of metrics.jsonl would read back from a run.
#include "evaluation/telemetry.h"

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/files.h"
#include "base/status_matchers.h"
#include "base/tfrecord.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string NewDir(const std::string& name) {
  const std::string dir = testing::TempDir() + "/telemetry_" + name;
  std::filesystem::remove_all(dir);
  return dir;
}

// A reader written from the format's description, apart from the writer: payloads with their checks.
std::vector<std::string> ReadRecords(const std::string& bytes) {
  std::vector<std::string> payloads;
  size_t at = 0;
  while (at < bytes.size()) {
    const auto length = ReadLittleEndian<uint64_t>(bytes.data() + at);
    EXPECT_EQ(ReadLittleEndian<uint32_t>(bytes.data() + at + 8), MaskedCrc32c(bytes.substr(at, 8)));
    payloads.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(ReadLittleEndian<uint32_t>(bytes.data() + at + 12 + length), MaskedCrc32c(payloads.back()));
    at += 16 + length;
  }
  EXPECT_EQ(at, bytes.size());
  return payloads;
}

struct Event {
  double wall_time = 0;
  uint64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};

uint64_t Varint(const std::string& s, size_t* at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(s.at((*at)++));
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

Event ParseEvent(const std::string& s) {
  Event event;
  for (size_t at = 0; at < s.size();) {
    const uint64_t key = Varint(s, &at);
    if (key == (1 << 3 | 1)) {
      event.wall_time = std::bit_cast<double>(ReadLittleEndian<uint64_t>(s.data() + at));
      at += 8;
    } else if (key == (2 << 3 | 0)) {
      event.step = Varint(s, &at);
    } else if (key == (3 << 3 | 2)) {
      const uint64_t n = Varint(s, &at);
      event.file_version = s.substr(at, n);
      at += n;
    } else if (key == (5 << 3 | 2)) {
      const uint64_t n = Varint(s, &at);
      for (const size_t end = at + n; at < end;) {
        EXPECT_EQ(Varint(s, &at), 1u << 3 | 2u);
        Varint(s, &at);
        EXPECT_EQ(Varint(s, &at), 1u << 3 | 2u);
        const uint64_t m = Varint(s, &at);
        const std::string tag = s.substr(at, m);
        at += m;
        EXPECT_EQ(Varint(s, &at), 2u << 3 | 5u);
        event.scalars[tag] = std::bit_cast<float>(ReadLittleEndian<uint32_t>(s.data() + at));
        at += 4;
      }
    } else {
      ADD_FAILURE() << "unknown key " << key;
      return event;
    }
  }
  return event;
}

std::vector<std::string> EventFiles(const std::string& dir) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir + "/tensorboard")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

RunLog::Options At(double seconds) {
  RunLog::Options options;
  options.clock = [seconds] { return seconds; };
  return options;
}

TEST(Crc, KnownValue) { EXPECT_EQ(Crc32c("123456789"), 0xe3069283u); }

TEST(RunLog, EventFileParsesBack) {
  const std::string dir = NewDir("events");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, At(1700000000.25)));
  ASSERT_OK(log->Write(300, {{"train/loss", 0.5}, {"reward/mean", -1.25}, {"train/kl", std::nan("")}}));
  const auto files = EventFiles(dir);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_THAT(files[0], HasSubstr("events.out.tfevents.1700000000."));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(files[0]));
  const auto records = ReadRecords(bytes);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(ParseEvent(records[0]).file_version, "brain.Event:2");
  const Event event = ParseEvent(records[1]);
  EXPECT_EQ(event.wall_time, 1700000000.25);
  EXPECT_EQ(event.step, 300u);
  EXPECT_THAT(event.scalars, UnorderedElementsAre(Pair("train/loss", 0.5f), Pair("reward/mean", -1.25f)));
}

TEST(RunLog, JsonLinesAreFlushedAndNotFiniteIsNull) {
  const std::string dir = NewDir("jsonl");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, At(12.5)));
  ASSERT_OK(log->Write(1, {{"a", 1}, {"b", std::numeric_limits<double>::infinity()}}));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadFile(dir + "/metrics.jsonl"));
  EXPECT_EQ(text, "{\"step\":1,\"time\":12.5,\"a\":1.0,\"b\":null}\n");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto rows, ReadMetrics(dir));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_THAT(rows[0].values, ElementsAre(Pair("a", 1.0)));
}

TEST(RunLog, EventsAreTextsForPeople) {
  const std::string dir = NewDir("texts");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, At(1)));
  ASSERT_OK(log->Write(4, {{"a", 1}}, {"teachers: set 2"}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto rows, ReadMetrics(dir));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_THAT(rows[0].events, ElementsAre("teachers: set 2"));
  EXPECT_THAT(rows[0].values, ElementsAre(Pair("a", 1.0)));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(EventFiles(dir).at(0)));
  const auto records = ReadRecords(bytes);
  ASSERT_EQ(records.size(), 3u);
  // Summary { value { tag: "events" tensor { dtype: STRING shape { dim { size: 1 } } string_val } metadata { … "text" } } }
  const std::string value = std::string("\x0a\x06" "events") + "\x42\x19\x08\x07\x12\x04\x12\x02\x08\x01\x42\x0f" "teachers: set 2" +
                            "\x4a\x0a\x0a\x06\x0a\x04" "text" "\x20\x02";
  EXPECT_THAT(records[2], HasSubstr(value));
}

TEST(RunLog, ResumedRunAppendsAndRewritesLaterSteps) {
  const std::string dir = NewDir("resume");
  for (const int start : {1, 3}) {
    RunLog::Options options = At(start);
    if (start == 3) options.keep_through = 2;
    SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, options));
    for (int step = start; step < start + 3; ++step) ASSERT_OK(log->Write(step, {{"x", 10.0 * start + step}}));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadFile(dir + "/metrics.jsonl"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto rows, ReadMetrics(dir));
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[1].values.at("x"), 12);
  EXPECT_EQ(rows[2].values.at("x"), 33);
  EXPECT_EQ(EventFiles(dir).size(), 2u);
}

TEST(RunLog, HalfALineOfAKilledRunIsRemoved) {
  const std::string dir = NewDir("torn");
  ASSERT_OK(MakeDirectories(dir));
  ASSERT_OK(WriteFileAtomically(dir + "/metrics.jsonl", "{\"step\":1,\"x\":1}\n{\"step\":2,\"x\""));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, false));
  ASSERT_OK(log->Write(2, {{"x", 2}}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto rows, ReadMetrics(dir));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].values.at("x"), 2);
  EXPECT_FALSE(std::filesystem::exists(dir + "/tensorboard"));
}

TEST(ReadMetrics, NoRun) {
  EXPECT_THAT(ReadMetrics(NewDir("none")), StatusIs(absl::StatusCode::kNotFound, HasSubstr("metrics.jsonl")));
}

}  // namespace
}  // namespace swerve
