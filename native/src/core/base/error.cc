#include "core/base/error.h"

namespace cloudfs {

std::string_view code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::superblock_corrupt:
      return "ERR_SUPERBLOCK_CORRUPT";
    case ErrorCode::store_version:
      return "ERR_STORE_VERSION";
    case ErrorCode::segment_corrupt:
      return "ERR_SEGMENT_CORRUPT";
    case ErrorCode::batch_corrupt:
      return "ERR_BATCH_CORRUPT";
    case ErrorCode::record_corrupt:
      return "ERR_RECORD_CORRUPT";
    case ErrorCode::record_version:
      return "ERR_RECORD_VERSION";
    case ErrorCode::block_corrupt:
      return "ERR_BLOCK_CORRUPT";
    case ErrorCode::payload_invalid:
      return "ERR_PAYLOAD_INVALID";
    case ErrorCode::checkpoint_corrupt:
      return "ERR_CHECKPOINT_CORRUPT";
    case ErrorCode::entry_corrupt:
      return "ERR_ENTRY_CORRUPT";
    case ErrorCode::chain_broken:
      return "ERR_CHAIN_BROKEN";
    case ErrorCode::frame_corrupt:
      return "ERR_FRAME_CORRUPT";
  }
  assertion_failed("an error code is one of the enumeration", std::source_location::current());
}

}  // namespace cloudfs
