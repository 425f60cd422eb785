// Decoded values encoded again, item by item: decoders are right if this gives the bytes they were given.
#pragma once

#include <vector>

#include "core/format/batch.h"
#include "core/format/run.h"

namespace cloudfs::encode_again {

inline std::vector<uint8_t> run(const RunView& run) {
  std::vector<uint8_t> out(run.bytes().size());
  RunBuilder builder(out, run.header());
  if (run.header().type == RunType::records) {
    for (const RecordView record : run.records()) {
      if (record.kind() != RecordKind::write) {
        builder.add_control(record.kind(), record.flags(), record.parent(), record.request_sequence(),
                            record.payload());
        continue;
      }
      std::vector<Extent> extents;
      std::vector<BlockSum> sums;
      for (size_t index = 0; index < record.extent_count(); ++index) extents.push_back(record.extent(index));
      for (size_t index = 0; index < record.data_blocks(); ++index) sums.push_back(record.block_sum(index));
      builder.add_extents(record.parent(), record.request_sequence(), extents, sums);
    }
  } else if (run.header().type == RunType::moved) {
    for (size_t index = 0; index < run.header().count; ++index) builder.add_moved(run.moved_block(index));
  } else {
    run.each_local_item([&](const LocalItem& item) { builder.add_local(item.kind, item.bytes); });
  }
  const ByteSpan bytes = builder.finish(run.header().last_public);
  return {bytes.begin(), bytes.end()};
}

/// The header area, without its padding.
inline std::vector<uint8_t> batch(const BatchView& batch) {
  const BatchHeader& header = batch.header;
  std::vector<uint8_t> out(header.padded_header_bytes());
  BatchBuilder builder(out, header.kind, header.align_log2, batch.runs.size());
  for (const BatchRun& placed : batch.runs) {
    const std::vector<uint8_t> bytes = run(placed.run);
    std::memcpy(builder.room().data(), bytes.data(), bytes.size());
    builder.add_run(placed.run.header(), placed.body_bytes() == placed.run.header().body_bytes);
  }
  builder.finish({header.segment, header.offset, header.seal}, header.sequence, header.synced_sequence);
  out.resize(header.header_bytes);
  return out;
}

}  // namespace cloudfs::encode_again
