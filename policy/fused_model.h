// The whole model on kernels of its own (policy/kernels.h): no tensor library, no dispatch, buffers reused. Prompts are
// run once and their keys and values shared by every row that continues them. CPU; fp32, or matrices in bf16 with everything
// else, sums, keys and values too, in fp32. InternVL, Qwen2.5-VL and Qwen2.5 text.
// Immutable once created; any number of threads may use one, each with a Scratch of its own.
#ifndef SWERVE_POLICY_FUSED_MODEL_H_
#define SWERVE_POLICY_FUSED_MODEL_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "policy/checkpoint.h"
#include "policy/huge_pages.h"
#include "policy/kernels.h"
#include "policy/model_config.h"
#include "policy/team.h"

namespace swerve {

class FusedModel {
 public:
  // Keys and values of consecutive tokens: per layer and key head, keys as
  // kernels::KeyIndex has them, values as [length, head_dim]. `stride` positions of room, a multiple of 32.
  // `next`: rotary position of the token after a prompt; with M-RoPE not its length.
  struct Cache {
    void Reset(const FusedModel& model, int capacity);
    static int StrideOf(int capacity);
    int length = 0, capacity = 0, stride = 0, next = 0;
    BigVector<float> keys, values;
  };
  // One sequence being continued: what it shares and what is its own.
  struct Row {
    const Cache* prompt = nullptr;
    Cache own;
  };
  // A caller's buffers. With a team, its members share each pass over the model: the same bits, sooner where the weights
  // do not fit the caches.
  struct Scratch {
    Team* team = nullptr;
    std::vector<float> x, n, qkv, attention, wide, narrow;
    std::vector<uint16_t> half;
    struct Lane {
      std::vector<float> scores, keys;
    };
    std::vector<Lane> lanes;  // of the members
  };
  enum class Precision { kFloat32, kBfloat16 };
  // Of "float32" or "bfloat16"; else INVALID_ARGUMENT.
  static absl::StatusOr<Precision> ParsePrecision(const std::string& dtype);

  static constexpr int kMaxHeadDim = 1024;
  static constexpr int kMaxPositions = 1 << 17;  // rotary positions held in tables; longer sequences are refused
  using Images = std::vector<std::shared_ptr<const ProcessedImage>>;

  // UNIMPLEMENTED names the shape that does not fit the kernels (head_dim must be a multiple of 8).
  static absl::Status Check(const ModelConfig& config, Precision precision = Precision::kFloat32);
  // Converts and packs `tensors`, which may be unmapped afterwards. Errors as above.
  static absl::StatusOr<std::shared_ptr<const FusedModel>> Create(const ModelConfig& config, const MappedTensors& tensors,
                                                                  Precision precision = Precision::kFloat32,
                                                                  const kernels::Table& kernels = kernels::Best());

  // Runs a prompt. `images` fill the placeholders in `ids` in order. Fills `cache` and the logits after the last token
  // (logit_stride() floats). INVALID_ARGUMENT: placeholders do not fit the images.
  absl::Status Prefill(const std::vector<int32_t>& ids, const Images& images, Cache* cache, float* logits, Scratch* scratch) const;
  // Feeds tokens[i] to rows[i] and writes its logits at logits + i·logit_stride(). Own caches must have room.
  void Step(absl::Span<Row* const> rows, absl::Span<const int32_t> tokens, float* logits, Scratch* scratch) const;

  const ModelConfig& config() const { return config_; }
  int64_t logit_stride() const { return kernels::Padded(config_.text.vocab); }
  Precision precision() const { return precision_; }
  // Of a cache of `capacity` positions.
  static int64_t CacheBytes(const ModelConfig& config, int capacity);
  // What a decoding step reads of weights at least, and the multiply-adds it makes for each row.
  int64_t step_bytes() const { return step_weights_ * (precision_ == Precision::kBfloat16 ? 2 : 4); }
  int64_t step_macs() const { return step_weights_; }
  // Whether threads had better share each step than take rows of their own: weights that leave a core's caches.
  bool wants_team() const { return step_bytes() > (int64_t{16} << 20); }
  // Rows of a thread that had better be continued together. Where weights stay in the caches (no team wanted), more rows take
  // each other's keys and values out of them between two steps.
  int rows_at_once() const;

 private:
  // Matrices stacked by rows, each padded; packed for the kernels.
  struct Matrix {
    int n = 0, k = 0;
    BigVector<float> packed;   // fp32
    BigVector<uint16_t> half;  // or bf16
    std::vector<float> bias;
  };
  struct Layer {
    std::vector<float> norm1, norm2;
    Matrix qkv, o, gate_up, down;
  };
  struct VisionLayer {
    std::vector<float> norm1, bias1, norm2, bias2;
    Matrix qkv, proj, fc1, fc2;  // InternViT: layer scale folded into proj and fc2; Qwen: fc1 is gate and up
  };
  class Loader;
  FusedModel(const kernels::Table& k, Precision precision) : k_(k), precision_(precision) {}
  void Multiply(const Matrix& m, const float* a, int64_t lda, int rows, float* c, int64_t ldc, bool add, Scratch* s) const;
  void Embed(int32_t id, float* out) const;
  void Rope(float* x, int heads, int position, float scale) const;
  void Rope(float* x, int heads, const int32_t* positions, int64_t stride, float scale) const;
  absl::StatusOr<std::vector<float>> Features(const Images& images, int slots, Scratch* s) const;
  void InternVit(const float* pixels, float* features, Scratch* s) const;
  void QwenVision(const ProcessedImage& image, float* features, Scratch* s) const;
  void VisionAttention(const std::vector<int>& tokens, Scratch* s) const;
  void AfterAttention(const Layer& layer, int rows, Scratch* s) const;
  void Weigh(float* scores, int count, int all, float* inverse) const;
  void AttendPrompt(const float* qkv, int64_t ldq, int layer, int head, const Cache& prompt, int from, int to, float* attention, Scratch::Lane* lane) const;
  void AttendRows(const float* qkv, int64_t ldq, int layer, int head, absl::Span<Row* const> rows, absl::Span<const int> which, float* attention, Scratch::Lane* lane) const;
  void Put(const float* k, const float* v, int layer, int head, int at, Cache* cache) const;
  void Logits(const float* x, int rows, float* logits, Scratch* s) const;

  const kernels::Table& k_;
  ModelConfig config_;
  const Precision precision_;
  int64_t step_weights_ = 0;
  Matrix embed_;  // packed as the head, which it is where the two are tied: then empty
  std::vector<float> norm_, cos_, sin_;
  std::vector<Layer> layers_;
  Matrix head_;
  Matrix patch_, linear1_, linear2_;
  std::vector<float> position_, projector_norm_, projector_bias_, final_norm_, final_bias_;
  std::vector<int> axis_;  // M-RoPE: which of the three positions a rotary frequency follows
  std::vector<VisionLayer> vision_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_FUSED_MODEL_H_
