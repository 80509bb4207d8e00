#include "run/flat_weights.h"

#include <cstring>

#include "core/error.h"
#include "core/memory.h"

namespace deepsearch {

FlatWeights::FlatWeights(const ModelConfig& config, DType type)
    : config_(config), type_(type), shapes_(expected_tensors(config)), offsets_(1, 0) {
  if (type != DType::kF32 && type != DType::kBF16) failure("a policy travels as fp32 or bf16");
  for (const TensorShape& tensor : shapes_) {
    int64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    offsets_.push_back(offsets_.back() + count);
  }
  bytes_ = offsets_.back() * bytes_of(type_);
  check_fits_memory(bytes_, "a policy on its way to the search ranks");
  values_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(bytes_));
}

void FlatWeights::fill(const ModelWeights& weights) {
  if (weights.tensors.size() != shapes_.size()) {
    failure("weights of {} tensors, the model's shape has {}", weights.tensors.size(), shapes_.size());
  }
  for (size_t i = 0; i < shapes_.size(); ++i) {
    const HostTensor& tensor = weights.tensors[i];
    const auto count = static_cast<size_t>(offsets_[i + 1] - offsets_[i]);
    if (tensor.name != shapes_[i].name || tensor.values.size() != count) {
      failure("weights: tensor {} is \"{}\" with {} values, expected \"{}\" with {}", i, tensor.name,
              tensor.values.size(), shapes_[i].name, count);
    }
    std::byte* out = values_.get() + offsets_[i] * bytes_of(type_);
    if (type_ == DType::kF32) {
      std::memcpy(out, tensor.values.data(), count * sizeof(float));
      continue;
    }
    auto* narrow = reinterpret_cast<uint16_t*>(out);
    for (size_t j = 0; j < count; ++j) narrow[j] = narrow_bf16(tensor.values[j]);
  }
}

std::vector<std::span<std::byte>> FlatWeights::parts() {
  std::vector<std::span<std::byte>> parts;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    const int64_t begin = offsets_[i] * bytes_of(type_);
    parts.emplace_back(values_.get() + begin, static_cast<size_t>(offsets_[i + 1] * bytes_of(type_) - begin));
  }
  return parts;
}

TensorView FlatWeights::view(size_t index) const {
  const TensorShape& tensor = shapes_.at(index);
  return {.name = &tensor.name,
          .type = type_,
          .shape = tensor.shape,
          .data = values_.get() + offsets_[index] * bytes_of(type_),
          .count = offsets_[index + 1] - offsets_[index]};
}

DType type_sent(const EngineParams& params) {
  return params.weights == "bf16" ? DType::kBF16 : DType::kF32;
}

WeightsMessage::Precision precision_of(DType type) {
  return type == DType::kBF16 ? WeightsMessage::Precision::kBf16 : WeightsMessage::Precision::kFp32;
}

DType type_of(WeightsMessage::Precision precision) {
  return precision == WeightsMessage::Precision::kBf16 ? DType::kBF16 : DType::kF32;
}

}  // namespace deepsearch
