// Gives good copies of blocks to other replicas, whose own rotted (docs/core.md, Repair). A question is answered from this
// store's map alone: it must have the block under the very name that the asker's map has.
#pragma once

#include <deque>

#include "core/format/frame.h"
#include "core/index/block_read.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/replication/streams.h"

namespace cloudfs {

class Store;

/// Questions of all streams at once. Who asks more is told to ask again.
constexpr size_t kAnswersMax = 128;
/// Versions of the volume that are looked at for one question, from the head upwards.
constexpr uint32_t kAnswerVersionsMax = 512;

class BlockAnswers {
 public:
  explicit BlockAnswers(Store& store) : store_(store) {}

  /// `epoch`: under which the stream's end here speaks.
  void on_ask(StreamId stream, const VolumeId& volume, const Epoch& epoch, const BlockAskFrame& ask);
  /// Once a turn.
  void step();

 private:
  struct One final : PageWaiter, BlockReadOwner {
    enum class Stage : uint8_t { lookup, reading, done };
    explicit One(BlockAnswers& answers) : all(answers) {}
    void on_pages(int error) override;
    void on_blocks(BlockRead& done, int error) override;
    void on_corrupt_block(uint64_t block, const Entry& entry) override;

    BlockAnswers& all;
    StreamId stream = 0;
    VolumeId volume;
    Epoch epoch;
    BlockAskFrame ask;
    Stage stage = Stage::lookup;
    NodeId node = 0;  // looked at next; 0: the head
    uint32_t looked = 0;
    bool is_rotten = false;
    BlockRead read;
  };

  void look_up(One& one);
  void found(One& one, int error);
  void answer(One& one, BlockAnswer kind, ByteSpan bytes = {});

  Store& store_;
  std::deque<One> open_;
};

}  // namespace cloudfs
