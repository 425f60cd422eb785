// The newest applied record of a volume, kept so that its link (chain.h) can be told: whoever comes to know the view's
// stamp makes the head's token of it. Kept as the record's own bytes, for a record is applied far more often than
// somebody asks.
#pragma once

#include <vector>

#include "core/format/chain.h"

namespace cloudfs {

class HeadLink {
 public:
  void set(const RecordView& record, const Epoch& epoch, const SessionId& session) {
    const ByteSpan bytes = record.bytes();
    bytes_.assign(bytes.begin(), bytes.end());
    lsn_ = record.lsn();
    epoch_ = epoch;
    session_ = session;
    is_record_ = true;
  }
  /// As a checkpoint or a description has it.
  void restore(std::vector<uint8_t> link) {
    bytes_ = std::move(link);
    is_record_ = false;
  }
  std::vector<uint8_t> bytes() const {
    return is_record_ ? link_of(epoch_, session_, RecordView(bytes_.data(), lsn_, 0)) : bytes_;
  }

 private:
  std::vector<uint8_t> bytes_;  // the record's descriptor, or the link
  bool is_record_ = false;
  Lsn lsn_ = 0;
  Epoch epoch_;
  SessionId session_{};
};

}  // namespace cloudfs
