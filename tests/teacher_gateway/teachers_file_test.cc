#include "teacher_gateway/teachers_file.h"

#include <google/protobuf/descriptor.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "base/files.h"
#include "base/status_matchers.h"
#include "base/api_key.h"
#include "base/http_client.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kOpenAi[] = "teachers:\n  - name: vlm\n    url: http://127.0.0.1:1/v1\n    model: m\n";

TEST(TeachersFileTest, TheDocumentedFileIsValidAndShowsEveryField) {
  const std::string path = std::string(SWERVE_SOURCE_DIR) + "/deploy/teachers/teachers.yaml";
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  SWERVE_ASSERT_OK_AND_ASSIGN(const TeachersSource source, TeachersSource::Parse(text, path));
  const v1::TeacherSpec& spec = source.file().teachers(0);
  const auto* type = spec.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    EXPECT_TRUE(field->is_repeated() ? spec.GetReflection()->FieldSize(spec, field) > 0
                                     : spec.GetReflection()->HasField(spec, field))
        << field->name() << " is not shown in " << path;
  }
  EXPECT_EQ(source.Beside("k"), std::string(SWERVE_SOURCE_DIR) + "/deploy/teachers/k");
  EXPECT_EQ(source.Beside("/k"), "/k");
}

TEST(TeachersFileTest, WhatIsWrittenReadsBack) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const TeachersSource source,
                              TeachersSource::Parse(absl::StrCat(kOpenAi, "    weight: 0.25\n    fallback: [oracle, r]\n"
                                                                          "  - {name: r, kind: rule, weight: 0}\n"),
                                                    "f"));
  const std::string yaml = TeachersYaml(source.file());
  SWERVE_ASSERT_OK_AND_ASSIGN(const TeachersSource again, TeachersSource::Parse(yaml, "f"));
  EXPECT_EQ(again.file().SerializeAsString(), source.file().SerializeAsString());
  EXPECT_THAT(yaml, Not(HasSubstr("concurrency")));  // defaults stay defaults
}

TEST(TeachersFileTest, AnInvalidFileIsRefusedWithItsLine) {
  const auto refused = [](const std::string& yaml, const std::string& part) {
    EXPECT_THAT(TeachersSource::Parse(yaml, "t.yaml").status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part)))
        << yaml;
  };
  const std::string good = kOpenAi;
  refused(good + "    wieght: 2\n", "t.yaml:5: unknown field 'teachers[0].wieght'; did you mean 'teachers.weight'");
  refused(good + "    weight: much\n", "t.yaml:5: field 'teachers[0].weight' must be a finite number");
  refused(good + "    weight: -1\n", "t.yaml:5: teacher \"vlm\": field 'weight' is -1 but must be at least 0");
  refused(good + "    concurrency: 0\n", "t.yaml:5: teacher \"vlm\": field 'concurrency'");
  refused(good + "    fallback: [oracle, gpt]\n", "t.yaml:5: teacher \"vlm\": field 'fallback' names gpt");
  refused(good + "    fallback: [vlm]\n", "names the teacher itself");
  refused(good + "    budget_money: 3\n", "t.yaml:5: teacher \"vlm\": field 'budget_money' needs price_in");
  refused(good + "    structured_output: xml\n", "must be one of: json_schema");
  refused(good + "  - name: vlm\n    kind: rule\n", "t.yaml:5: teacher \"vlm\": field 'name' is taken");
  refused(good + "    key_env: A\n    key_file: b\n", "t.yaml:6: teacher \"vlm\": field 'key_file' and 'key_env'");
  refused("teachers:\n  - name: vlm\n    url: ftp://x/v1\n    model: m\n", "t.yaml:3: teacher \"vlm\": field 'url' must be");
  refused("teachers:\n  - name: vlm\n    url: http://x/v1\n", "t.yaml:2: teacher \"vlm\": field 'model' is missing");
  refused("teachers:\n  - kind: rule\n", "t.yaml:2: teacher number 1: field 'name'");
  refused("teachers:\n  - {name: rule, kind: oracle}\n", "is a kind of its own");
  refused("teachers:\n  - {name: a, kind: rule, url: x}\n", "is for kind openai alone");
  refused("teachers:\n  - {name: a, kind: human}\n", "field 'kind' must be one of");
  refused("teachers:\n  - {name: a, kind: rule, weight: 0}\n", "leave no teacher for the groups");
  refused("teachers:\n  - {name: a, kind: rule, shadow: true}\n", "leave no teacher for the groups");
  refused("teachers:\n  - {name: a, kind: rule, fallback: [b]}\n  - {name: b, kind: rule, shadow: true}\n", "names a shadow");
  refused("teachers:\n  - {name: a, kind: rule}\n  - {name: b, kind: rule, shadow: true, weight: 2}\n", "at most 1");
  refused("teachers:\n  - {name: a, kind: rule, draining: true}\n", "leave no teacher for the groups");
  refused("teachers: []\n", "is empty");
  refused("", "is empty");
  refused("teachers: 3\n", "t.yaml:1: field 'teachers' must be a list of mappings");
  refused("teachers:\n  - rule\n", "t.yaml:2: field 'teachers[0]' must be a mapping");
  refused("teachers: [", "not YAML");
}

// A key can get into any field by mistake; then no message may repeat it.
TEST(TeachersFileTest, NoRefusalRepeatsAKey) {
  const std::string key = "sk-Zq81vN-secret";
  for (const std::string& yaml :
       {absl::StrCat(kOpenAi, "    key_env: ", key, "\n"), absl::StrCat(kOpenAi, "    api_key: ", key, "\n"),
        absl::StrCat("teachers:\n  - name: v\n    url: https://", key, "@h/v1\n    model: m\n"),
        absl::StrCat("teachers:\n  - name: v\n    url: https://h/v1?key=", key, "\n    model: m\n"),
        absl::StrCat("teachers:\n  - name: \"", key, " \"\n    kind: rule\n")}) {
    const absl::Status status = TeachersSource::Parse(yaml, "f").status();
    ASSERT_FALSE(status.ok()) << yaml;
    EXPECT_THAT(status.ToString(), Not(HasSubstr(key)));
  }
}

TEST(TeachersFileTest, AKeyTravelsUnencryptedOnlyWhenAllowed) {
  const std::string remote = "teachers:\n  - name: v\n    url: http://gpu-3:8000/v1\n    model: m\n";
  EXPECT_OK(TeachersSource::Parse(remote, "f").status());
  EXPECT_THAT(TeachersSource::Parse(remote + "    key_env: K\n", "f").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("unencrypted")));
  EXPECT_OK(TeachersSource::Parse(remote + "    key_env: K\n    key_over_http: true\n", "f").status());
  EXPECT_OK(TeachersSource::Parse(absl::StrCat(kOpenAi, "    key_env: K\n"), "f").status());
  EXPECT_TRUE(IsLoopbackUrl("http://localhost:8000/v1") && IsLoopbackUrl("http://[::1]/v1"));
  EXPECT_FALSE(IsLoopbackUrl("http://127.evil.example/v1") || IsLoopbackUrl("http://localhost.evil/v1"));
}

TEST(ApiKeyTest, ComesFromTheEnvironmentOrAFileAndIsNeverQuoted) {
  setenv("SWERVE_TEST_KEY", " sk-1 \n", 1);
  SWERVE_ASSERT_OK_AND_ASSIGN(const ApiKey key, ApiKey::Find("SWERVE_TEST_KEY", ""));
  EXPECT_EQ(key.Reveal(), "sk-1");
  EXPECT_EQ(key.Redact("your key sk-1, sk-1!"), "your key ***, ***!");
  EXPECT_EQ(ApiKey().Redact("x"), "x");
  const std::string file = testing::TempDir() + "/key";
  ASSERT_OK(WriteFileAtomically(file, "sk-2\n"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const ApiKey from_file, ApiKey::Find("", file));
  EXPECT_EQ(from_file.Reveal(), "sk-2");
  ASSERT_OK(WriteFileAtomically(file, "sk-2\r\nX-Evil: 1"));
  EXPECT_THAT(ApiKey::Find("", file).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(file), Not(HasSubstr("sk-2")))));
  EXPECT_THAT(ApiKey::Find("SWERVE_NO_SUCH", "").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("SWERVE_NO_SUCH")));
  EXPECT_THAT(ApiKey::Find("", "/no/key").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/key")));
}

}  // namespace
}  // namespace swerve
