// Keys and values on a CUDA device in pages of device::kPage tokens, and who holds which. Used by one thread. Needs LibTorch.
#ifndef SWERVE_POLICY_DEVICE_PAGES_H_
#define SWERVE_POLICY_DEVICE_PAGES_H_

#include <torch/torch.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "policy/cuda/device_ops.h"
#include "policy/model_config.h"

namespace swerve {

// The memory: per layer keys and values [pages · kPage, kv_heads, head_dim].
class DeviceCache {
 public:
  static int64_t PageBytes(const TextConfig& c, torch::ScalarType type) {
    return int64_t{2} * c.layers * device::kPage * c.kv_heads * c.head_dim * static_cast<int64_t>(c10::elementSize(type));
  }
  // Throws c10::Error where the device has not the memory.
  DeviceCache(const TextConfig& c, torch::ScalarType type, torch::Device device, int64_t pages) {
    for (int i = 0; i < c.layers; ++i) {
      for (auto* side : {&keys_, &values_}) side->push_back(torch::empty({pages * device::kPage, c.kv_heads, c.head_dim}, torch::TensorOptions(type).device(device)));
    }
  }
  torch::Tensor& keys(int layer) { return keys_[layer]; }
  torch::Tensor& values(int layer) { return values_[layer]; }

 private:
  std::vector<torch::Tensor> keys_, values_;
};

class DevicePagePool;

// Pages that are held until this goes away; the pool must outlive it.
class DevicePages {
 public:
  DevicePages() = default;
  DevicePages(DevicePagePool* pool, std::vector<int32_t> numbers) : pool_(pool), numbers_(std::move(numbers)) {}
  DevicePages(DevicePages&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), numbers_(std::move(other.numbers_)) {}
  DevicePages& operator=(DevicePages&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(numbers_, other.numbers_);
    return *this;
  }
  inline ~DevicePages();

  const std::vector<int32_t>& numbers() const { return numbers_; }
  int64_t SlotOf(int token) const { return int64_t{numbers_[token / device::kPage]} * device::kPage + token % device::kPage; }

 private:
  DevicePagePool* pool_ = nullptr;
  std::vector<int32_t> numbers_;
};

class DevicePagePool {
 public:
  explicit DevicePagePool(int pages) {
    for (int i = pages - 1; i >= 0; --i) free_.push_back(i);
  }
  static int64_t PagesFor(int tokens) { return (tokens + device::kPage - 1) / device::kPage; }
  // There must be as many: who takes them has been counted.
  DevicePages Take(int tokens) {
    const size_t count = PagesFor(tokens);
    TORCH_CHECK(count <= free_.size(), "no pages left for keys and values");
    std::vector<int32_t> numbers(free_.end() - count, free_.end());
    free_.resize(free_.size() - count);
    return {this, std::move(numbers)};
  }
  size_t free() const { return free_.size(); }

 private:
  friend class DevicePages;
  std::vector<int32_t> free_;
};

DevicePages::~DevicePages() {
  if (pool_ != nullptr) pool_->free_.insert(pool_->free_.end(), numbers_.begin(), numbers_.end());
}

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_PAGES_H_
