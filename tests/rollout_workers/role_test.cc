#include "rollout_workers/role.h"

#include <gmock/gmock.h>

namespace swerve {
namespace {

using ::testing::ElementsAre;

TEST(ServersOfTest, WorkersShareTheServersOut) {
  v1::RunConfig config;
  for (const char* url : {"http://a", "http://b", "http://c", "http://d", "http://e"}) config.mutable_rollout()->mutable_servers()->add_urls(url);
  EXPECT_EQ(ServersOf(config, "rollout-0", "r").urls.size(), 5u);
  config.mutable_rollout()->set_workers(2);
  EXPECT_THAT(ServersOf(config, "rollout-0", "r").urls, ElementsAre("http://a", "http://c", "http://e"));
  EXPECT_THAT(ServersOf(config, "rollout-1", "r").urls, ElementsAre("http://b", "http://d"));
  EXPECT_EQ(ServersOf(config, "rollout", "r").urls.size(), 3u);
  const ServerOptions o = ServersOf(config, "rollout-1", "run-9");
  EXPECT_EQ(o.run, "run-9");
  EXPECT_EQ(o.deadline, absl::Seconds(100));
  EXPECT_EQ(o.max_attempts, 8);
}

}  // namespace
}  // namespace swerve
