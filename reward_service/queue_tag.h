// What the completion queue of RewardService hands back: an object that knows what has happened.
#ifndef SWERVE_REWARD_SERVICE_QUEUE_TAG_H_
#define SWERVE_REWARD_SERVICE_QUEUE_TAG_H_

namespace swerve {

class QueueTag {
 public:
  // `ok` as gRPC gives it with the tag.
  virtual void Happened(bool ok) = 0;

 protected:
  ~QueueTag() = default;
};

// Calls a member of its owner, which must outlive what the tag was given to.
template <class Owner>
class MemberTag final : public QueueTag {
 public:
  MemberTag(Owner* owner, void (Owner::*member)(bool)) : owner_(owner), member_(member) {}
  void Happened(bool ok) override { (owner_->*member_)(ok); }

 private:
  Owner* const owner_;
  void (Owner::*const member_)(bool);
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_QUEUE_TAG_H_
