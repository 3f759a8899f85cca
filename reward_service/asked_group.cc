#include "reward_service/asked_group.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <limits>
#include <utility>

#include "reward_service/retry_hint.h"

namespace swerve {
namespace {

using google::protobuf::Arena;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr size_t kSpareSlots = 64;        // slots kept; as many are in work as there are scoring threads, or a few more
constexpr int kSlotCandidates = 64;       // of their groups, at most
constexpr size_t kSlotBytes = 64 << 10;  // the same of the request

google::protobuf::ArenaOptions ArenaIn(char* block, size_t size) {
  google::protobuf::ArenaOptions options;
  options.initial_block = block;
  options.initial_block_size = size;
  return options;
}

struct Field {
  int number;
  bool has_bytes;           // otherwise:
  uint64_t value;
  absl::string_view bytes;
};

// Calls read(field) for each field of a message that has a length or is a varint; others are passed over. False: the
// bytes are no message, or `read` said so.
template <class Read>
bool ForEachField(absl::string_view message, Read read) {
  if (message.size() > std::numeric_limits<int>::max()) return false;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    Field field{WireFormatLite::GetTagFieldNumber(tag), false, 0, {}};
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED: {
        int length = 0;
        if (!in.ReadVarintSizeAsInt(&length)) return false;
        field.has_bytes = true;
        field.bytes = message.substr(static_cast<size_t>(in.CurrentPosition()), static_cast<size_t>(length));
        if (!in.Skip(length) || !read(field)) return false;
        break;
      }
      case WireFormatLite::WIRETYPE_VARINT:
        if (!in.ReadVarint64(&field.value) || !read(field)) return false;
        break;
      default:
        if (!WireFormatLite::SkipField(&in, tag)) return false;
    }
  }
  return in.ConsumedEntireMessage();
}

bool ReadPacked(absl::string_view bytes, std::vector<uint64_t>* values) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  while (in.CurrentPosition() < static_cast<int>(bytes.size())) {
    if (!in.ReadVarint64(&values->emplace_back())) return false;
  }
  return true;
}

bool ReadStreamedGroup(absl::string_view message, GroupBytes* out) {
  return ForEachField(message, [&](const Field& f) {
    if (f.has_bytes) {
      if (f.number == v1::StreamedGroup::kGroupFieldNumber) out->group = f.bytes;
    } else {
      if (f.number == v1::StreamedGroup::kIdFieldNumber) out->id = f.value;
      if (f.number == v1::StreamedGroup::kTimeoutMsFieldNumber) out->timeout_ms = static_cast<uint32_t>(f.value);
    }
    return true;
  });
}

}  // namespace

GroupSlot::GroupSlot() : arena(ArenaIn(block, sizeof block)) {}

std::unique_ptr<GroupSlot> GroupSlots::Take() {
  {
    absl::MutexLock lock(&mu_);
    if (!spare_.empty()) {
      std::unique_ptr<GroupSlot> slot = std::move(spare_.back());
      spare_.pop_back();
      return slot;
    }
  }
  return std::make_unique<GroupSlot>();
}

void GroupSlots::Give(std::unique_ptr<GroupSlot> slot) {
  slot->arena.Reset();
  slot->answer = nullptr;
  absl::MutexLock lock(&mu_);
  if (spare_.size() < kSpareSlots) spare_.push_back(std::move(slot));
}

void AskedGroup::Ask(grpc::Slice message, absl::string_view group) {
  message_ = std::move(message);
  group_ = group;
}

absl::Status AskedGroup::Open(GroupSlots* slots, ScoringPool::Call* call) {
  slot_ = slots->Take();
  slot_->answer = Arena::CreateMessage<v1::GroupAnswer>(&slot_->arena);
  const bool read = slot_->request.ParseFromArray(group_.data(), static_cast<int>(group_.size()));
  message_ = grpc::Slice();
  if (!read) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", group_.size(), " bytes are no ", v1::ScoreGroupRequest::descriptor()->full_name()));
  }
  call->request = &slot_->request;
  call->reply = slot_->answer->mutable_reply();
  return absl::OkStatus();
}

grpc::Slice AskedGroup::Answer(const absl::Status& status, uint64_t id, GroupSlots* slots) {
  v1::GroupAnswer error;
  v1::GroupAnswer* const answer = status.ok() ? slot_->answer : &error;
  if (!status.ok()) *error.mutable_error() = ToRpcStatus(status);
  answer->set_id(id);
  const size_t size = answer->ByteSizeLong();
  constexpr int kField = v1::ScoreGroupsReply::kAnswersFieldNumber;
  grpc::Slice slice(WireFormatLite::TagSize(kField, WireFormatLite::TYPE_MESSAGE) +
                    CodedOutputStream::VarintSize32(static_cast<uint32_t>(size)) + size);
  // The slice is this function's alone until it is returned.
  uint8_t* at = const_cast<uint8_t*>(slice.begin());
  at = WireFormatLite::WriteTagToArray(kField, WireFormatLite::WIRETYPE_LENGTH_DELIMITED, at);
  at = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), at);
  answer->SerializeWithCachedSizesToArray(at);
  Drop(slots);
  return slice;
}

grpc::Slice AskedGroup::Reply(GroupSlots* slots) {
  const v1::ScoreGroupReply& reply = slot_->answer->reply();
  grpc::Slice slice(reply.ByteSizeLong());
  reply.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));  // as above
  Drop(slots);
  return slice;
}

void AskedGroup::Drop(GroupSlots* slots) {
  const bool small = group_.size() <= kSlotBytes;
  message_ = grpc::Slice();
  group_ = {};
  if (slot_ == nullptr) return;
  if (small && slot_->request.candidates_size() <= kSlotCandidates) return slots->Give(std::move(slot_));
  slot_.reset();
}

grpc::Slice OnePiece(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  if (!bytes.TrySingleSlice(&slice).ok() && !bytes.DumpToSingleSlice(&slice).ok()) return {};
  return slice;
}

bool SplitGroups(absl::string_view message, std::vector<GroupBytes>* groups) {
  return ForEachField(message, [&](const Field& f) {
    if (f.has_bytes && f.number == v1::ScoreGroupsRequest::kGroupsFieldNumber) groups->push_back({f.bytes});
    return true;
  });
}

bool SplitStreamed(absl::string_view message, std::vector<GroupBytes>* groups, std::vector<uint64_t>* cancelled) {
  return ForEachField(message, [&](const Field& f) {
    if (f.has_bytes && f.number == v1::ScoreStreamRequest::kGroupsFieldNumber) {
      return ReadStreamedGroup(f.bytes, &groups->emplace_back());
    }
    if (f.number != v1::ScoreStreamRequest::kCancelledFieldNumber) return true;
    if (f.has_bytes) return ReadPacked(f.bytes, cancelled);
    cancelled->push_back(f.value);
    return true;
  });
}

}  // namespace swerve
