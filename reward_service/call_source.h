// Where calls reach a scoring pool by themselves (service.h). The pool's threads wait there when they have nothing to
// score and look in now and then while they do, so that the thread that reads a call scores it and sends the answer:
// handing each of them to another thread costs about as much as scoring a small group.
#ifndef SWERVE_REWARD_SERVICE_CALL_SOURCE_H_
#define SWERVE_REWARD_SERVICE_CALL_SOURCE_H_

namespace swerve {

// Thread-safe. All of it is called by the pool alone, from ScoringPool::Serve until ScoringPool::Leave has returned.
class CallSource {
 public:
  virtual ~CallSource() = default;
  // Handles what has arrived, some dozens at most; calls ScoringPool::Submit from inside. Never blocks.
  virtual void Poll() = 0;
  // Blocks until something has arrived or a thread was woken; handles it as Poll does.
  virtual void Wait() = 0;
  // One thread returns from Wait, now or as soon as one gets there, unless a Poll meets it first: who polls looks for work
  // afterwards. Never blocks, and calls nothing of the pool.
  virtual void Wake() = 0;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_CALL_SOURCE_H_
