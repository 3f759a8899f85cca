// Lines that the gateway writes while the learner reads.
#include "evaluation/teacher_changes.h"

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kAdd[] =
    R"({"time_us":1,"set":2,"cause":"add vlm","teachers":[{"name":"oracle","share":0.25},{"name":"vlm","share":0.75},{"name":"try","share":0.5,"shadow":true}]})"
    "\n";
constexpr char kRemove[] = R"({"time_us":2,"set":3,"cause":"file","teachers":[{"name":"rule","share":1.0}]})"
                           "\n";

TEST(TeacherChangesTest, TellsWhatIsNewAndWhole) {
  const std::string dir = testing::TempDir() + "/teacher_changes";
  std::filesystem::remove_all(dir);
  ASSERT_OK(MakeDirectories(dir));
  SWERVE_ASSERT_OK_AND_ASSIGN(TeacherChanges found, ReadTeacherChanges(dir, 0));
  EXPECT_EQ(found.lines, 0u);
  const std::string half = std::string(kRemove).substr(0, 30);
  ASSERT_OK(WriteFileAtomically(dir + "/teacher_changes.jsonl", std::string(kAdd) + "{\"nonsense\":1}\n" + half));
  SWERVE_ASSERT_OK_AND_ASSIGN(found, ReadTeacherChanges(dir, 0));
  EXPECT_EQ(found.lines, 2u);
  EXPECT_THAT(found.texts, ElementsAre("teachers: set 2 (add vlm): oracle 25 %, vlm 75 %, try 50 % (shadow)"));
  ASSERT_OK(WriteFileAtomically(dir + "/teacher_changes.jsonl", std::string(kAdd) + "{\"nonsense\":1}\n" + kRemove));
  SWERVE_ASSERT_OK_AND_ASSIGN(found, ReadTeacherChanges(dir, found.lines));
  EXPECT_THAT(found.texts, ElementsAre("teachers: set 3 (file): rule 100 %"));
  SWERVE_ASSERT_OK_AND_ASSIGN(found, ReadTeacherChanges(dir, found.lines));
  EXPECT_THAT(found.texts, IsEmpty());
}

}  // namespace
}  // namespace swerve
